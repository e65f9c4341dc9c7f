"""What each route of the Deployment API does: methods that take a request and return a document."""
