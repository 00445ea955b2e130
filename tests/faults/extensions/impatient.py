"""Patience with storage that is short enough for a test."""

from recurray.platform import storage

storage.PATIENCE_SECONDS = 3.0
