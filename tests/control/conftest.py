import pytest

from etcdlab.control.server import DEFAULT_LIMITS
from tests.control.fake import served


@pytest.fixture
async def lab(tmp_path):
    async with served(tmp_path, DEFAULT_LIMITS) as lab:
        yield lab
