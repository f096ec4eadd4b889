"""Objects of a cloud's store, through the Rust client of ``obstore``: S3 and what speaks like it, GCS, Azure.

Credentials come from where the cloud puts them: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, a pod's
web identity or the machine's role; never from the URL. ``AWS_ENDPOINT_URL`` names a server other than AWS's.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import ConfigError, ObjectStoreError
from recsys.remote.objects import Objects, Stored

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CLOUDS: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
"""Protocols that are spoken here."""
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_LOGIN = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or the pod a role"


def open_cloud(url: str) -> Objects:
    """Find a cloud's store.

    Raises:
        ConfigError: The extra ``s3`` is not installed, or the URL names no bucket.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        scheme = url.partition(":")[0]
        raise ConfigError(f"{scheme}:// needs the extra s3; run: pip install 'recsys[s3]'") from error
    plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    try:
        store = from_url(
            url,
            client_options={"connect_timeout": timedelta(seconds=5), "allow_http": plain},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=60)},
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"expected {url.partition(':')[0]}://BUCKET/PREFIX; got {url!r}") from error
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
        """Say what is wrong, but not as the client does: that may repeat a key's name or a signed address."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            said = str(error)
            found = _CODE.search(said)
            code = found[1] if found else type(error).__name__
            if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
                raise FileNotFoundError(f"{self.url} has no such object") from None
            raise ObjectStoreError(f"{self.url}: {_advice(code, said)}") from None


def _advice(code: str, said: str) -> str:
    if code == "NoSuchBucket":
        return "there is no such bucket; create it, or correct the URL"
    if code in _REFUSED or code in {"PermissionDeniedError", "UnauthenticatedError"}:
        return f"the store refuses these credentials ({code}); see to {_LOGIN}"
    if "/latest/api/token" in said or "/latest/meta-data" in said:
        return f"there are no credentials; set {_LOGIN}"
    if code == "GenericError":
        return "the store cannot be reached; see that it runs, and to AWS_ENDPOINT_URL and AWS_REGION"
    return f"the store does not do as asked ({code})"
