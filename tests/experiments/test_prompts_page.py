"""The prompts that docs/language-models.md shows."""

from experiments.pages import prompts


def test_the_page_shows_what_is_asked():
    assert prompts.PAGE.read_text(encoding="utf-8") == prompts.page()


def test_a_page_is_written_between_its_marks_alone(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{prompts.BEGIN}old\n{prompts.END}after\n")
    monkeypatch.setattr(prompts, "PAGE", page)
    monkeypatch.setattr(prompts, "transcript", lambda: "new")
    prompts.main()
    assert page.read_text() == f"before\n{prompts.BEGIN}\nnew\n{prompts.END}after\n"
