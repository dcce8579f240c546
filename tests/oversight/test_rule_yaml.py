"""The draft as YAML: as a whole, not over somebody else's change, and downloaded."""

import re
from pathlib import Path
from typing import Any

from django.test import Client

from policy.rules import from_yaml
from tests.admin.conftest import olga, sign_in
from tests.cast import Cast
from tests.oversight.drawn import Drawn
from tests.oversight.ruling import WHOLE, draft, page, write

__all__ = ["olga", "sign_in"]


def test_yaml_is_saved_as_a_whole_or_not_at_all_and_nothing_typed_is_lost(cast: Cast, olga: Client) -> None:
    write(cast, "- {name: Old, effect: deny}")
    base = olga.get(page("yaml")).context["base"]
    wrong = "- name: New\n  effect: allow\n- name: Other\n  effect: forbid\n  when: {from: '9'}\n"
    answer = olga.post(page("yaml"), {"yaml": wrong, "base": base})
    shown = answer.content.decode()
    assert "Line 4: effect: It is not one of allow," in shown
    assert "Line 5: when.from: &#x27;9&#x27; is no time of day." in shown
    assert drawn_text(answer) == wrong
    assert [spec.name for spec in draft(cast)] == ["Old"]
    right = wrong.replace("forbid", "deny").replace("'9'", "'09:00', to: '10:00'")
    answer = olga.post(page("yaml"), {"yaml": right, "base": base}, follow=True)
    assert "The draft is saved: 2 added, 1 removed." in answer.content.decode()
    assert [spec.name for spec in draft(cast)] == ["New", "Other"]


def drawn_text(answer: Any) -> str:
    (text,) = Drawn(answer.content.decode(), "yaml_form").data["yaml"]
    return text.replace("\r\n", "\n")


def test_yaml_written_over_somebody_elses_change_asks_first(cast: Cast, olga: Client) -> None:
    base = olga.get(page("yaml")).context["base"]
    write(cast, "- {name: Theirs, effect: deny}")
    answer = olga.post(page("yaml"), {"yaml": "- {name: Mine, effect: deny}", "base": base})
    assert "Somebody changed the draft meanwhile." in answer.content.decode()
    assert [spec.name for spec in draft(cast)] == ["Theirs"]
    olga.post(page("yaml"), {"yaml": "- {name: Mine, effect: deny}", "base": answer.context["base"]})
    assert [spec.name for spec in draft(cast)] == ["Mine"]


def test_yaml_is_downloaded_as_it_is_read(cast: Cast, olga: Client) -> None:
    write(cast, WHOLE)
    answer = olga.get(page("download"))
    assert answer["content-disposition"] == f'attachment; filename="rules-{cast.acme.slug}.yaml"'
    assert from_yaml(answer.content.decode()) == draft(cast)


def test_the_usual_rules_of_the_how_to_can_be_saved_as_they_stand(cast: Cast, olga: Client) -> None:
    page_of_docs = (Path(__file__).parents[2] / "docs/how-to/rules.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", page_of_docs, re.DOTALL)
    base = olga.get(page("yaml")).context["base"]
    assert olga.post(page("yaml"), {"yaml": written, "base": base}).status_code == 302
    assert len(draft(cast)) == 5
