from tests.valkey import redis_client, valkey_url

__all__ = ["redis_client", "valkey_url"]
