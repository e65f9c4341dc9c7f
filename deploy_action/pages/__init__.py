"""Pages in HTML: the look that all of them share, and the page of a backtest."""
