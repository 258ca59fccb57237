"""Addresses as a person types them: ``qdrant_url`` of a Qdrant server, ``endpoint_url`` of a served model."""
