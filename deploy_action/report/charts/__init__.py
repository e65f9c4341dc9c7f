"""The curves of a backtest as charts, in Mermaid and in block characters."""
