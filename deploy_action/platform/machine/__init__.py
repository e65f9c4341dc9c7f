"""This machine as a host of deployed models: their processes, files and limits."""
