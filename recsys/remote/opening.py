"""Finds a store by its URL: a directory, a cloud's, or any file system that an installed package knows."""

from pathlib import Path
from urllib.parse import urlsplit

from recsys.errors import ConfigError, ObjectStoreError
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.objects import Objects
from recsys.remote.refusals import CLOUDS

_NO_STORES = {
    "http",
    "https",
    "data",
    "git",
    "github",
    "gist",
    "zip",
    "tar",
    "libarchive",
    "reference",
    "local",
}
"""Protocols of fsspec's that only read, or that are others' second names."""


def open_objects(url: str) -> Objects:
    """Find a store by its URL; nothing is asked of it yet.

    Args:
        url: ``s3://BUCKET/PREFIX``, ``gs://``, ``az://`` with the extra ``s3``; ``file:///DIRECTORY``; or any
            other URL whose protocol an installed package brings to fsspec.

    Raises:
        ConfigError: It is no such URL, or what it needs is not installed.
        ObjectStoreError: It cannot be reached, where its package looks at once.
    """
    from recsys.remote.cloud import open_cloud

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(_expected("something that is no URL")) from error
    if not parts.scheme or "://" not in url:
        raise ConfigError(_expected("something without ://"))
    is_container = parts.scheme in {"abfs", "abfss"} and parts.password is None  # CONTAINER@ACCOUNT.HOST
    if (parts.username and not is_container) or parts.password or parts.query or parts.fragment:
        raise ConfigError("the URL of a store holds no credentials and no options; see docs/distributed.md")
    if parts.scheme == "file":
        return DirectoryObjects(url, _directory(url))
    if parts.scheme in CLOUDS:
        return open_cloud(url)
    return _of_fsspec(url, parts.scheme)


def _expected(got: str) -> str:
    return (
        "expected the URL of a store: s3://BUCKET/PREFIX, gs:// or az:// (with the extra s3), "
        "file:///DIRECTORY, or one that an installed package brings to fsspec, such as sftp://HOST/PATH; "
        f"got {got}"
    )


def _directory(url: str) -> Path:
    rest = url.partition("://")[2]
    if not rest.startswith("/"):  # RFC 8089: between the slashes would be a host
        raise ConfigError(
            f"expected file:// and a path from the root on, such as file:///{rest}; got {url!r}"
        )
    if not rest.strip("/"):
        raise ConfigError(f"expected file:///DIRECTORY; got {url!r}, which names no directory")
    return Path(rest)


def _of_fsspec(url: str, scheme: str) -> Objects:
    import fsspec

    from recsys.remote.fsspec_objects import FsspecObjects

    unknown = _expected(f"the protocol {scheme!r}, which nothing here can keep objects in")
    if scheme in _NO_STORES or "::" in url:
        raise ConfigError(unknown)
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{scheme}:// needs a package that is not installed: {error}") from error
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(unknown) from error
    except OSError as error:
        raise ObjectStoreError(
            f"{url} cannot be reached: {error.strerror or type(error).__name__}"
        ) from error
    return FsspecObjects(url, system, root)
