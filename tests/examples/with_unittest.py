# ruff: noqa: PT009
"""One lab for a class of tests, pristine for each:  python -m unittest with_unittest"""

import unittest

from etcdlab import Lab


class GreetingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab.up(nodes=3, profile="fast"))

    def setUp(self):
        self.lab.reset()

    def test_a_key_is_there_for_one_test(self):
        self.lab.etcdctl("put", "greeting", "hello")
        self.assertEqual(self.lab.etcdctl("get", "greeting", "--print-value-only"), "hello\n")

    def test_and_gone_for_the_next(self):
        self.assertEqual(self.lab.etcdctl("get", "greeting"), "")


if __name__ == "__main__":
    unittest.main()
