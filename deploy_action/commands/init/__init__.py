"""`blankly-deploy init`: what a repository of models needs for its first pull request."""
