"""The GitHub runner's protocol and the forge's API."""
