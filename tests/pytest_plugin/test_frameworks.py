"""The fixtures under what people write tests with, all of it in one session and on one lab."""

import pytest

pytestmark = [pytest.mark.etcd, pytest.mark.usefixtures("all_plugins")]


def test_trio_asyncio_unittest_and_plain_functions(suite):
    suite.ini("etcdlab_nodes = 1", "asyncio_default_fixture_loop_scope = function")
    suite.tests("""
        import asyncio, unittest
        import pytest, pytest_asyncio, trio

        names = set()

        def use(etcd):
            assert etcd.etcdctl("get", "a") == ""
            etcd.etcdctl("put", "a", "1")
            names.add(etcd.name)

        def test_plain(etcd):
            use(etcd)

        @pytest.mark.trio
        async def test_trio(etcd):
            await trio.to_thread.run_sync(use, etcd)

        @pytest.fixture
        async def trio_key(etcd):
            use(etcd)
            await trio.lowlevel.checkpoint()
            return "a"

        @pytest.mark.trio
        async def test_trio_fixture(trio_key, etcd):
            assert etcd.etcdctl("get", trio_key) == "a\\n1\\n"

        @pytest.mark.asyncio
        async def test_asyncio(etcd):
            await asyncio.to_thread(use, etcd)

        @pytest_asyncio.fixture
        async def asyncio_key(etcd):
            use(etcd)
            await asyncio.sleep(0)
            return "a"

        @pytest.mark.asyncio
        async def test_asyncio_fixture(asyncio_key, etcd):
            assert etcd.etcdctl("get", asyncio_key) == "a\\n1\\n"

        @pytest.mark.usefixtures("etcd")
        class TestCase(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def lab(self, etcd):
                self.etcd = etcd

            def setUp(self):
                use(self.etcd)

            def test_it(self):
                self.assertEqual(self.etcd.etcdctl("get", "a"), "a\\n1\\n")

            def test_that_fails(self):
                self.fail("meant")

        def test_last():
            assert len(names) == 1
    """)
    result = suite.run(passed=7, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: meant", "*- etcdlab: pytest-main-*", "healthy, leader n1"])
