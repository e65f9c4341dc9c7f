"""The pages that there are."""

from __future__ import annotations

from typing import Final

from deploy_action.platform.web.site import PageRoute
from deploy_action.platform.web.views import files, home, log, sign_in
from deploy_action.platform.web.views.backtests import comparison, history, listing, single
from deploy_action.platform.web.views.machines import api_docs, monitoring, programs
from deploy_action.platform.web.views.overview import order_pages, overview_page, switches
from deploy_action.platform.web.views.versions import comparing, starting, version_pages

_MODEL: Final = "/{project}/{model}"

ROUTES: Final = (
    PageRoute("GET", "/static/{name}", files.show_file, is_open=True),
    PageRoute("GET", "/login", sign_in.show_form, is_open=True),
    PageRoute("POST", "/login", sign_in.sign_in, is_open=True),
    PageRoute("POST", "/logout", sign_in.sign_out),
    PageRoute("GET", "/auth/signin", programs.show_question),
    PageRoute("POST", "/auth/signin", programs.send_token),
    PageRoute("GET", "/metrics", monitoring.show_metrics, is_open=True),
    PageRoute("GET", "/api", api_docs.show_reference),
    PageRoute("GET", "/monitoring", monitoring.show_help),
    PageRoute("GET", "/", home.show_models),
    PageRoute("GET", f"{_MODEL}/overview", overview_page.show_overview),
    PageRoute("POST", f"{_MODEL}/stop", switches.stop_model),
    PageRoute("POST", f"{_MODEL}/start", switches.start_model),
    PageRoute("POST", f"{_MODEL}/run", switches.run_screener),
    PageRoute("GET", f"{_MODEL}/orders", order_pages.show_orders),
    PageRoute("GET", f"{_MODEL}/orders/{{order}}", order_pages.show_order),
    PageRoute("GET", f"{_MODEL}/log", log.show_log),
    PageRoute("GET", f"{_MODEL}/log/follow", log.follow_log),
    PageRoute("GET", f"{_MODEL}/log/download", log.download_log),
    PageRoute("GET", f"{_MODEL}/backtests", listing.show_backtests),
    PageRoute("GET", f"{_MODEL}/versions", version_pages.show_versions),
    PageRoute("GET", f"{_MODEL}/versions/compare", comparing.compare),
    PageRoute("GET", f"{_MODEL}/versions/{{version}}", version_pages.show_version),
    PageRoute("POST", f"{_MODEL}/versions/{{version}}/start", starting.start_version),
    PageRoute("GET", f"{_MODEL}/backtests/compare", comparison.show_comparison),
    PageRoute("GET", f"{_MODEL}/backtests/history", history.show_history),
    PageRoute("GET", f"{_MODEL}/backtests/{{backtest}}", single.show_backtest),
)
