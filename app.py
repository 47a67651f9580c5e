"""The dashboard: `streamlit run app.py`. It shows what the API at API_URL says, and nothing else."""

import streamlit as st

from dashboard import estimate, explore, models, quality
from dashboard.page import run, wait_if_needed

st.set_page_config(page_title="housecast", page_icon="🏠", layout="wide")
chosen = st.navigation(
    [
        st.Page(
            lambda: run(explore.page), title="Explore", icon=":material/query_stats:", url_path="explore", default=True
        ),
        st.Page(lambda: run(estimate.page), title="Estimate", icon=":material/sell:", url_path="estimate"),
        st.Page(lambda: run(models.page), title="Models", icon=":material/deployed_code:", url_path="models"),
        st.Page(lambda: run(quality.page), title="Quality", icon=":material/verified:", url_path="quality"),
    ]
)
chosen.run()
wait_if_needed()
