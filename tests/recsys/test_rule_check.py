import json
from pathlib import Path

import pytest

from recsys.cli import run
from recsys.errors import ConfigError
from recsys.rule_check import check_rules
from recsys.tables import publish
from recsys.workspace import Workspace
from tests.recsys.small_catalogue import greengrocer

RULES = """
rules = [
    { name = "farm", action = "boost", factor = 2, filter = "brand = Farm", placements = ["home", "attic"] },
    { name = "past", action = "exclude", filter = "brand = nobody", end = 2001-01-01 },
    { name = "pin", action = "pin", item_id = "gone", position = 0 },
    { name = "sold out", action = "pin", item_id = "zucchini", position = 0, placements = ["home"] },
]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    shop = Workspace(tmp_path)
    publish(shop.items, greengrocer().frame)
    shop.rules.write_text(RULES, encoding="utf-8")
    return shop


def test_every_rule_says_which_items_it_means_today(workspace: Workspace) -> None:
    farm, past, gone, sold_out = check_rules(workspace)
    everywhere = "it is pinned in every placement, search and trending too"
    assert (farm.name, farm.action, farm.runs, farm.num_items) == ("farm", "boost", True, 5)
    assert farm.titles == ("red apple", "red apple", "red beet")
    assert farm.remarks == ("there is no placement 'attic'",)
    assert (past.runs, past.num_items, past.remarks) == (False, 0, ("no item matches",))
    assert gone.remarks == ("the catalogue does not hold the item", everywhere)
    assert sold_out.remarks == ("nothing of it can be sold",)


def test_a_cap_says_what_it_counts(workspace: Workspace) -> None:
    cap = "[[rules]]\naction = 'cap'\nmost = 1\nfirst = 5\n"
    caps = [
        "name = 'all'\nby = 'brand'",
        "name = 'green'\nby = 'parent_category'\nfilter = 'title:\"green\"'",
        "name = 'vain'\nby = 'brand'\nfilter = 'title:\"basket\"'",
    ]
    workspace.rules.write_text("\n".join(cap + one for one in caps), encoding="utf-8")
    by_brand, by_parent, in_vain = check_rules(workspace)
    assert (by_brand.num_items, by_brand.about, by_brand.remarks) == (9, "every item with a brand", ())
    assert (by_parent.num_items, by_parent.about) == (3, "")
    assert in_vain.num_items == 0
    assert in_vain.remarks == ("no item that matches has a brand, so nothing is capped",)


def test_the_command_prints_one_document(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import EntryPoint

    verbs = [EntryPoint("rules", "recsys.commands:rules", "recsys.commands")]
    assert run(["rules", "check", "--workspace", str(workspace.root), "--json"], verbs) == 0
    assert [rule["name"] for rule in json.loads(capsys.readouterr().out)["rules"]][:2] == ["farm", "past"]
    assert run(["rules", "check", "--workspace", str(workspace.root)], verbs) == 0
    assert "no item matches" in " ".join(capsys.readouterr().out.replace("┃", " ").replace("│", " ").split())


def test_a_workspace_without_rules_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        check_rules(Workspace(tmp_path))
