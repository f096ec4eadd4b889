"""The port to listen on: whether it is to be had, asked before anything else is begun."""

import socket

from serving.settings import Settings, cannot_listen


def free_address(settings: Settings) -> tuple[int, tuple[str | int, ...]]:
    """The family and the address to listen on, with a port that is free now.

    Raises:
        ConfigError: Somebody listens there, sharing the port or not, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return family, (address[0], int(probe.getsockname()[1]), *address[2:])
    except OSError as error:
        raise cannot_listen(settings) from error
