import pytest
from jinja2 import UndefinedError

from medr1_pacs.web.pages.templating import templates


def render(template, **values):
    return templates.env.from_string(template).render(**values)


def test_what_stands_between_backticks_is_code_and_nothing_else_is():
    text = "`middle` chose 1 of <b>3</b>"

    assert render("{{ text | marked }}", text=text) == (
        "<code>middle</code> chose 1 of &lt;b&gt;3&lt;/b&gt;"
    )


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(UndefinedError, match="choosen"):
        render("{% if facet.choosen %}open{% endif %}", facet={"chosen": True})


def test_a_message_begins_like_a_sentence():
    assert render("{{ text | sentence }}", text="a token has a <name>") == (
        "A token has a &lt;name&gt;"
    )
    assert render("{{ text | sentence }}", text="") == ""
