"""Replays recorded cases of how Kubernetes answers against any API server."""
