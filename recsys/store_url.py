"""The one URL that says where the online state lies: a server, or several nodes of a cluster.

A cluster is named by some of its nodes, from which the others are learnt::

    redis+cluster://[user:password@]HOST:PORT[,HOST:PORT...][?option=value]

``rediss+cluster`` is the same over TLS; ``valkey+cluster`` and ``valkeys+cluster`` are other names.
"""

_CLUSTER_SCHEMES = {
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
    "valkey+cluster": "redis",
    "valkeys+cluster": "rediss",
}


def is_cluster(url: str) -> bool:
    """Whether a URL names a cluster."""
    return url.partition("://")[0] in _CLUSTER_SCHEMES


def node_urls(url: str) -> list[str]:
    """The nodes that a cluster's URL names, each as the URL of a server.

    >>> node_urls("redis+cluster://:secret@one:7000,two:7001?protocol=3")
    ['redis://:secret@one:7000?protocol=3', 'redis://:secret@two:7001?protocol=3']

    Raises:
        ValueError: It names none, or a database, of which a cluster has only one. The URL is not repeated, it
            may hold a password.
    """
    scheme, _, rest = url.partition("://")
    place, mark, options = rest.partition("?")
    place, _, database = place.partition("/")
    if database not in {"", "0"}:
        raise ValueError("a cluster has no databases but 0; expected nothing after the nodes' ports")
    login, at, nodes = place.rpartition("@")
    hosts = [host.strip() for host in nodes.split(",")]
    if not all(hosts):
        raise ValueError(f"expected {scheme}://HOST:PORT,HOST:PORT, with a host in every place")
    return [f"{_CLUSTER_SCHEMES[scheme]}://{login}{at}{host}{mark}{options}" for host in hosts]
