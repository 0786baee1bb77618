from tests.rigging import redis_client, rig, valkey_url

__all__ = ["redis_client", "rig", "valkey_url"]
