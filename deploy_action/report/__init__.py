"""How a run is shown: summary, comment and JSON report, as pure functions."""
