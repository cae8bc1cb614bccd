"""The documentation that the gateway serves about itself."""
