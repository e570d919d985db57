"""How all figures of a report look. Runs in: command line, driver."""

import plotly.graph_objects as go

COLOURS = {"complete": "#2e7d4f", "pruned": "#c98a1b", "failed": "#b83232", "running": "#2b6cb0", "waiting": "#9aa3ad"}
ACCENT, GREY = "#1f5fa8", "#9aa3ad"
SEVERAL = ("#1f5fa8", "#c4572e", "#2e7d4f", "#7a4fa3", "#b08a1e", "#3b8f9e", "#a83a6b", "#5b6470")
Drawn = go.Figure | str
"""A figure, or the sentence that stands in its place and says why there is none."""
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", "size": 13}


def styled(figure: go.Figure, height: int = 420, x: str | None = None, y: str | None = None) -> go.Figure:
    """The figure in the report's look; `x` and `y` name its axes."""
    figure.update_layout(
        title=None,
        template="plotly_white",
        font={**FONT, "color": "#24292f"},
        height=height,
        width=None,
        margin={"l": 64, "r": 24, "t": 28, "b": 56},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title_font_size=13, **({"title_text": x} if x else {}))
    figure.update_yaxes(title_font_size=13, **({"title_text": y} if y else {}))
    return figure
