"""The pages of a server: what its models do and did, for people, in a browser."""
