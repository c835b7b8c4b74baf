"""A tdbwatch sink that adds events to Redis Streams."""

from tdbwatch_redis.options import RedisOptions
from tdbwatch_redis.sink import RedisSink

__tdbwatch_api__ = 1

__all__ = ["RedisOptions", "RedisSink"]
