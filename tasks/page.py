"""Pages of one HTML file each, with neither network nor script: templates of tasks/pages, on page.html there."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **known: object) -> str:
    """Whatever came with the data is escaped. Raises UndefinedError for what the template needs and isn't known."""
    return _PAGES.get_template(template).render(known)
