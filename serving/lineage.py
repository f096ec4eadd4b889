"""Tells the data that a store holds from data of another past."""

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline

from serving.cluster_client import LearningCluster, StoreClient


async def lineage(client: StoreClient) -> str:
    """An id of the data that the primaries hold; another after a failover or a restart.

    Raises:
        RedisError: A primary did not answer.
        RedisClusterException: None did.
    """
    if not isinstance(client, LearningCluster):
        return await server_lineage(client)
    found = await client.info("replication", target_nodes=RedisCluster.PRIMARIES)
    answers = [found] if "role" in found else list(found.values())
    return " ".join(sorted(f"{one['role']}:{one['master_replid']}" for one in answers))


async def server_lineage(client: Redis | Pipeline) -> str:
    """The same of a single server, also on a transaction's connection before ``multi``.

    A replication id is new as well when the first replica comes, and an hour after the last one left; nothing
    was lost then, and the latest states are made anew in vain.
    """
    process, replication = await client.info("server"), await client.info("replication")
    return f"{process.get('run_id', '')}:{replication.get('master_replid', '')}"
