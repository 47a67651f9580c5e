"""What every page has: the API at hand, and failures said in words while the rest goes on."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from plotly.graph_objs._figure import Figure

from dashboard.client import Api, ApiProblem
from src import __version__
from src.core.settings import Settings

logger = logging.getLogger(__name__)

# Between two looks whether an API that was gone is back.
LOOK_SECONDS = 3
# Of every chart's tools.
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"], "responsive": True}


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Return the deployment's settings, read once."""
    return Settings()


@st.cache_resource(show_spinner=False)
def api() -> Api:
    """Return the client that all sessions share."""
    key = settings().api_key
    return Api(settings().api_url, key.get_secret_value() if key else None)


def run(page: Callable[[], None]) -> None:
    """Show a page; whatever goes wrong is said in words."""
    with section():
        page()


@contextmanager
def section() -> Iterator[None]:
    """Show a part of a page; what fails in it fails alone."""
    try:
        yield
    except ApiProblem as problem:
        if problem.retry:
            st.warning(
                f"**{problem.title}.** {problem} Trying again every {LOOK_SECONDS} seconds; your filters are kept.",
                icon="⏳",
            )
            st.session_state["waiting"] = True
        else:
            st.error(f"**{problem.title}.** {problem}", icon="⚠️")
    except Exception as error:
        # Streamlit stops and reruns a script by exceptions of its own.
        if type(error).__module__.startswith("streamlit"):
            raise
        logger.exception("a part of a page failed")
        st.error(f"**This part cannot be shown.** {_cause()}", icon="⚠️")


def _cause() -> str:
    """Say what is behind a failure that nothing foresaw: mostly an API that answers in another way."""
    try:
        theirs = str(api().get("/")["version"])
    except (ApiProblem, KeyError, TypeError):
        return f"What listens at {settings().api_url} is not the API that the dashboard knows."
    if theirs != __version__:
        return f"The API is version {theirs} and the dashboard {__version__}; both should be of one version."
    return "Something went wrong in the dashboard; its log says what."


def wait_if_needed() -> None:
    """Rerun the page once an API that was gone is back."""
    if st.session_state.pop("waiting", False):
        _wait()


@st.fragment(run_every=LOOK_SECONDS)
def _wait() -> None:
    try:
        api().get("/health/ready")
    except ApiProblem:
        return
    st.rerun()


def draw(figure: Figure, key: str, alt: str) -> None:
    """Show a chart; `alt` is what a screen reader says of it.

    Streamlit hands each figure to Plotly twice, the second time with a new copy of its theme's template, and Plotly
    then draws everything again. So the few colours that a theme has are set here, there is no template, and
    `datarevision` says that the data of the second are those of the first: half of the browser's work.
    """
    ink, grid = ("#A9AFBC", "#31363F") if st.context.theme.type == "dark" else ("#555B66", "#E3E6EB")
    figure.layout.template = None
    figure.update_layout(
        datarevision=1,
        font={"color": ink, "family": '"Source Sans", sans-serif', "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis={"gridcolor": grid, "zerolinecolor": grid, "showgrid": False},
        yaxis={"gridcolor": grid, "zerolinecolor": grid},
    )
    st.plotly_chart(figure, theme=None, config=CONFIG, key=key, alt=alt)


def detail(name: str) -> dict[str, Any]:
    """Return what the API says of a data set (ApiProblem)."""
    found: dict[str, Any] = api().get(f"/datasets/{name}")
    return found
