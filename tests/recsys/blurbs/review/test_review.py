"""Tests of the review, walked through as a reviewer does: by ids, and at the terminal."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.blurbs.commands import blurbs
from recsys.blurbs.complaints import hold_back
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.revalidation import Revalidation
from recsys.blurbs.review.agreement import agreement, sample_check
from recsys.blurbs.review.judgement import Decision, Judgement, Occasion, judgements
from recsys.blurbs.review.queue import is_drawn
from recsys.blurbs.review.spans import supported_spans
from recsys.blurbs.row import BlurbSlot, Source
from recsys.errors import BlurbError
from tests.recsys.blurbs.review.reviewed_shop import WRITTEN, asked, opened, waiting

Row = dict[str, object]


def refused(shop: Path, *words: str) -> str:
    done = CliRunner().invoke(blurbs, ["review", *words, "--workspace", str(shop)])
    assert isinstance(done.exception, BlurbError)
    return str(done.exception)


def typed(shop: Path, keys: str, reviewer: str = "anna") -> str:
    words = ["review", "--workspace", str(shop), "--reviewer", reviewer]
    done = CliRunner().invoke(blurbs, words, input=keys)
    assert done.exit_code == 0, done.output
    return done.output


def shown(shop: Path, item_id: str) -> tuple[str, Source, bool] | None:
    with opened(shop) as book:
        entry = book.approved(BlurbSlot(item_id, "en"))
    return None if entry is None else (entry.text, entry.source, entry.ai_generated)


def test_what_matters_most_is_asked_first(shop: Path) -> None:
    cases = asked(shop, "review", "--list")
    assert [case["item_id"] for case in cases][:2] == ["train", "fork"]
    assert [case["occasion"] for case in cases] == ["waiting", "waiting", "sample", "sample"]
    assert cases[0]["is_high_risk"]
    assert cases[0]["previous"] == "A train of beech, 40 cm long."
    assert [reason["evidence"] for reason in cases[1]["verdict"]["reasons"]] == ["zigzag", "tines"]


def test_a_list_shows_ids_whole_however_narrow_the_terminal(shop: Path) -> None:
    ids = [case["id"] for case in asked(shop, "review", "--list")]
    done = CliRunner().invoke(blurbs, ["review", "--list", "--workspace", str(shop)], env={"COLUMNS": "40"})
    assert [line.split()[0] for line in done.stdout.splitlines()[::3]] == ids


def test_a_text_of_a_risky_category_needs_two_people(shop: Path) -> None:
    train = waiting(shop)["train"]["id"]
    (first,) = asked(shop, "review", "--approve", train, "--reviewer", "anna")
    assert first["state"] == "review"
    assert "train" not in waiting(shop, "Anna ")
    assert "somebody else has to approve" in refused(shop, "--approve", train, "--reviewer", "ANNA")
    assert waiting(shop, "ben")["train"]["approvals"] == ["anna"]
    (second,) = asked(shop, "review", "--approve", train, "--reviewer", "ben")
    assert second["state"] == "approved"
    assert shown(shop, "train") == ("A train of beech.", Source.GENERATED_REVIEWED, True)


def test_an_edit_needs_a_reason_where_the_gate_objects_and_a_second_person_for_the_new_text(
    shop: Path,
) -> None:
    cases = waiting(shop)
    edit = ["review", "--edit", cases["fork"]["id"], "--reviewer", "anna", "--text"]
    message = refused(shop, *edit[1:], "A fork of steel, 19 cm long.")
    assert "unsupported_number" in message
    assert "nobody overrules" in refused(shop, *edit[1:], "A **fork** of steel.", "--reason", "it is so")
    (fork,) = asked(shop, *edit, "A fork of steel,  18 cm long")
    assert (fork["state"], fork["source"]) == ("approved", "GENERATED_REVIEWED")
    assert shown(shop, "fork") == ("A fork of steel, 18 cm long", Source.GENERATED_REVIEWED, True)
    train = ["review", "--edit", cases["train"]["id"], "--text", "A beech train."]
    assert asked(shop, *train, "--reviewer", "anna")[0]["state"] == "review"
    new = waiting(shop, "ben")["train"]
    assert (new["text"], new["approvals"]) == ("A beech train.", ["anna"])
    with opened(shop) as book:
        lines = book.file.rows("SELECT detail FROM audit WHERE action = 'review edited'")
    assert [json.loads(line[0])["author"] for line in lines] == ["human+ai"] * 2


def test_what_was_overruled_stays_while_the_facts_do(shop: Path) -> None:
    fork = waiting(shop)["fork"]["id"]
    text = "A fork of steel, 19 cm long."
    asked(shop, "review", "--edit", fork, "--text", text, "--reason", "measured it", "--reviewer", "anna")
    with opened(shop) as book:
        entry = book.approved(BlurbSlot("fork", "en"))
        assert entry is not None
        facts = Facts.from_canonical(entry.request.facts)
        again = Revalidation(book, Gate(brands=["Another"]), BlurbConfig())
        assert again.check(entry, facts)
        longer = Facts.of({"item_id": "fork", "title": "Steel fork", "attributes": {"length": "21 cm"}})
        assert not again.check(entry, longer)
        assert book.approved(BlurbSlot("fork", "en")) is None


def test_a_rejected_text_never_comes_back_and_needs_a_known_reason(shop: Path) -> None:
    fork = waiting(shop)["fork"]["id"]
    assert "expected a reason of untrue" in refused(shop, "--reject", fork, "--reason", "ugly")
    assert "needs a note" in refused(shop, "--reject", fork, "--reason", "other")
    asked(shop, "review", "--reject", fork, "--reason", "unsupported", "--reviewer", "anna")
    assert "fork" not in waiting(shop)
    assert "is revoked" in refused(shop, "--approve", fork, "--reviewer", "anna")
    with opened(shop) as book:
        assert WRITTEN["fork"] in book.revoked_texts("fork")


def test_a_blocked_item_shows_nothing(shop: Path) -> None:
    asked(shop, "review", "--block", waiting(shop)["fork"]["id"], "--reviewer", "anna")
    with opened(shop) as book:
        assert book.switches().hide("fork", [], None)
        (said,) = judgements(book)
    assert said.reason == "item_blocked"


def test_words_are_allowed_and_terms_forbidden(shop: Path) -> None:
    asked(shop, "review", "--allow", "zigzag", "--forbid", "oak")
    assert shown(shop, "bowl") is None
    lexicon = Lexicons.load([shop / "lexicons" / "from_review"]).of("en")
    assert lexicon is not None
    assert lexicon.wording.is_neutral("zigzag")


def test_samples_bound_the_share_of_bad_texts_and_second_opinions_give_kappa(shop: Path) -> None:
    cases = waiting(shop)
    asked(shop, "review", "--approve", cases["bowl"]["id"], "--reviewer", "anna")
    asked(shop, "review", "--reject", cases["spoon"]["id"], "--reason", "style", "--reviewer", "anna")
    doubles = waiting(shop, "ben")
    assert doubles["bowl"]["occasion"] == doubles["spoon"]["occasion"] == "double"
    assert doubles["bowl"]["approvals"] == []
    assert "approves or rejects" in refused(
        shop, "--edit", doubles["bowl"]["id"], "--text", "An oak bowl!", "--reviewer", "ben"
    )
    asked(shop, "review", "--approve", doubles["bowl"]["id"], "--reviewer", "ben")
    asked(shop, "review", "--approve", doubles["spoon"]["id"], "--reviewer", "ben")
    assert "spoon" not in waiting(shop, "ben")
    with opened(shop) as book:
        said = judgements(book)
    found = sample_check(said)
    assert (found.num_judged, found.num_bad) == (2, 1)
    assert (agreement(said).num_pairs, agreement(said).share, agreement(said).kappa) == (2, 0.5, 0.0)
    assert shown(shop, "spoon") is None


def test_of_two_opinions_the_stricter_counts(shop: Path) -> None:
    bowl = waiting(shop)["bowl"]["id"]
    asked(shop, "review", "--approve", bowl, "--reviewer", "anna")
    asked(shop, "review", "--reject", bowl, "--reason", "style", "--reviewer", "ben")
    assert shown(shop, "bowl") is None


def test_none_bad_of_many_is_bounded_as_the_rule_of_three_says() -> None:
    one = Judgement(1, "anna", Decision.APPROVED, Occasion.SAMPLE, "", "k", "b", "b", is_final=True)
    found = sample_check([one] * 300)
    assert found.upper == pytest.approx(3 / 300, rel=0.01)
    assert "0 bad of 300" in found.words
    assert "nothing is known" in sample_check([]).words


def test_a_share_is_drawn_once_and_for_all() -> None:
    drawn = [name for name in map(str, range(2000)) if is_drawn("sample", name, 0.05)]
    assert 60 < len(drawn) < 140
    assert all(is_drawn("sample", name, 0.06) for name in drawn)


def test_at_the_terminal_everything_decided_is_kept_when_the_reviewer_leaves(shop: Path) -> None:
    output = typed(shop, "x\na\ne\nA fork of gold.\n\ne\nA fork of steel.\n")  # and the input ends
    assert "unsupported" in output
    assert "stopped; what was decided is kept" in output
    assert shown(shop, "fork") == ("A fork of steel.", Source.GENERATED_REVIEWED, True)
    assert "train" not in waiting(shop)


def test_at_the_terminal_words_are_added_and_texts_rejected_and_skipped(shop: Path) -> None:
    output = typed(shop, "s\nt\nzigzag\nn\nr\nugly\n\nr\nuntrue\n\ns\nq\n")
    assert "expected a reason of" in output
    assert "1 revoked of 4" in output
    assert "fork" not in waiting(shop)


def test_what_shoppers_reported_waits_again_and_earlier_approvals_do_not_count(shop: Path) -> None:
    train = waiting(shop)["train"]["id"]
    for reviewer in ("anna", "ben"):
        asked(shop, "review", "--approve", train, "--reviewer", reviewer)
    with opened(shop) as book:
        assert hold_back(book, train, 1, "WRONG")
    case = waiting(shop, "anna")["train"]
    assert (case["occasion"], case["approvals"], case["complaints"]) == ("waiting", [], ["WRONG"])
    assert asked(shop, "review", "--approve", train, "--reviewer", "anna")[0]["state"] == "review"
    assert "shoppers reported it: WRONG" in typed(shop, "q\n", "carla")


def test_two_reviewers_cannot_decide_on_the_same_text_at_once(shop: Path) -> None:
    fork = waiting(shop)["fork"]["id"]
    asked(shop, "review", "--edit", fork, "--text", "A fork of steel.", "--reviewer", "anna")
    assert "no text has the id" in refused(shop, "--approve", fork, "--reviewer", "ben")


def test_the_audit_of_a_review_cannot_be_changed(shop: Path) -> None:
    asked(shop, "review", "--approve", waiting(shop)["fork"]["id"], "--reviewer", "anna")
    with opened(shop) as book:
        for statement in ("UPDATE audit SET actor = 'ben'", "DELETE FROM audit"):
            with pytest.raises(BlurbError, match="append-only"):
                book.file.change(statement)
        (line,) = book.file.rows("SELECT * FROM audit WHERE action = 'review approved'")
    detail = json.loads(line["detail"])
    assert line["actor"] == "anna"
    assert line["time"] > 0
    assert (detail["before"]["state"], detail["after"]["state"]) == ("review", "approved")
    assert detail["facts"]
    assert detail["model"] == "m@unknown"


def test_a_shop_without_a_book_says_how_to_get_one(tmp_path: Path) -> None:
    assert "recsys blurbs generate" in refused(tmp_path)


def test_supported_words_numbers_and_characters_are_found() -> None:
    facts = Facts.of(
        {"item_id": "a", "title": "Beech spoon", "attributes": {"length": "30 cm", "材质": "榉木"}}
    )
    lexicons = Lexicons.load()

    def found(text: str, language: str) -> list[str]:
        return [text[start:end] for start, end in supported_spans(facts, text, language, lexicons)]

    assert found("A golden spoon, 30 cm", "en") == ["spoon", "30 cm"]
    assert found("好榉木的", "zh") == ["榉木"]
    assert found("spoon", "xx") == []
