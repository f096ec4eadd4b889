"""Objects of a cloud's store, through the Rust client of ``obstore``: S3 and what speaks like it, GCS, Azure.

Credentials come from where the cloud puts them: variables of the environment, a pod's identity or the
machine's role, see ``refusals``; never from the URL. ``AWS_ENDPOINT_URL`` and its like name another server.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.errors import ConfigError, ObjectStoreError
from recsys.remote.objects import Objects, Stored
from recsys.remote.refusals import NO_BUCKET, advice, code_of, is_plain, lacks_login

if TYPE_CHECKING:
    from obstore.store import ObjectStore


def open_cloud(url: str) -> Objects:
    """Find a cloud's store.

    Raises:
        ConfigError: The extra ``s3`` is not installed, the URL names no bucket, or the credentials that the
            environment names cannot be read.
    """
    scheme = url.partition(":")[0]
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigError(f"{scheme}:// needs the extra s3; run: pip install 'recsys[s3]'") from error
    try:
        store = from_url(
            url,
            client_options={"connect_timeout": timedelta(seconds=5), "allow_http": is_plain(url)},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=60)},
        )
    except (BaseError, ValueError) as error:
        if lacks_login(url, str(error)):
            raise ConfigError(f"{url}: {advice(url, error)}") from None
        raise ConfigError(f"expected {scheme}://BUCKET/PREFIX; got {url!r}") from error
    return CloudObjects(url, store)


class CloudObjects:
    """Objects below a prefix of a bucket."""

    def __init__(self, url: str, store: "ObjectStore") -> None:
        self.url, self._store = url, store

    def list(self, prefix: str) -> dict[str, Stored]:
        """See ``Objects``."""
        import obstore

        with self._asking():
            metas = [meta for batch in obstore.list(self._store, prefix) for meta in batch]
        return {meta["path"]: Stored(meta["size"], meta["last_modified"]) for meta in metas}

    def read(self, name: str) -> bytes:
        """See ``Objects``."""
        import obstore

        with self._asking():
            return bytes(obstore.get(self._store, name).bytes())

    def download(self, name: str, path: Path) -> None:
        """See ``Objects``."""
        import obstore

        with self._asking(), path.open("wb") as file:
            for chunk in obstore.get(self._store, name).stream():
                file.write(chunk)

    def upload(self, path: Path, name: str) -> None:
        """See ``Objects``."""
        import obstore

        with self._asking():
            obstore.put(self._store, name, path)

    def create(self, name: str, content: bytes) -> bool:
        """See ``Objects``."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._asking():
            try:
                obstore.put(self._store, name, content, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def remove(self, names: Sequence[str]) -> None:
        """See ``Objects``."""
        import obstore

        with self._asking():
            for name in names:
                try:
                    obstore.delete(self._store, name)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say what is wrong, but not as the client does."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and code_of(error) not in NO_BUCKET:
                raise FileNotFoundError(f"{self.url} has no such object") from None
            raise ObjectStoreError(f"{self.url}: {advice(self.url, error)}") from None
