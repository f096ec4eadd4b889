"""The backend that the configuration names; what it needs is imported only then."""

import os
from typing import Final

from recsys.blurbs.backends.backend import Backend
from recsys.blurbs.backends.extractive import ExtractiveBackend
from recsys.blurbs.configuration import BlurbConfig
from recsys.errors import ConfigError

API_KEY: Final = "RECSYS_BLURBS_API_KEY"
"""Environment variable with the key of the backend ``openai``."""


def make_backend(config: BlurbConfig) -> Backend:
    """Make the backend.

    Raises:
        ConfigError: Its model is not there, or what runs it is not installed.
    """
    if config.backend == "llama":
        from recsys.blurbs.backends.llama import LlamaBackend

        return LlamaBackend(config)
    if config.backend == "transformers":
        from recsys.blurbs.backends.transformers import TransformersBackend

        return TransformersBackend(config)
    if config.backend == "openai":
        return _openai(config)
    return ExtractiveBackend()


def _openai(config: BlurbConfig) -> Backend:
    try:
        from recsys.blurbs.backends.openai import OpenAiBackend
    except ImportError as error:
        raise ConfigError("the backend openai needs: pip install '.[blurbs]'") from error
    return OpenAiBackend(config, os.environ.get(API_KEY, ""))
