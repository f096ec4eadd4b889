"""The checked-in code is what the protos generate."""

from pathlib import Path

from tests.contracts.generate_proto import PROTO_ROOT, generate

CHECKED_IN = PROTO_ROOT.parent / "recsys" / "v1"
_UNCOMMENTED = ("//", "syntax", "package", "import")


def test_generated_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "recsys" / "v1").iterdir()}
    kept = {path.name: path.read_bytes() for path in CHECKED_IN.glob("*_pb2*.py*") if path.is_file()}
    assert sorted(fresh) == sorted(kept)
    stale = [name for name, content in fresh.items() if kept[name] != content]
    assert not stale, "run: make proto"


def test_every_message_field_enum_value_and_method_has_a_comment() -> None:
    for proto in sorted(PROTO_ROOT.rglob("*.proto")):
        previous = ""
        for line in proto.read_text(encoding="utf-8").splitlines():
            words = line.strip()
            declares = words.endswith((";", "{")) and not words.startswith(_UNCOMMENTED)
            if declares:
                assert previous.startswith("//"), f"{proto.name}: {words}"
            previous = words
