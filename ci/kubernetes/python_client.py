"""What programs written with the `kubernetes` Python client need from an API server: lists in pages, watches that go on where
they stopped, conflicts, expired revisions, leader election. Usage: python_client.py KUBECONFIG"""

import sys
import time
import unittest
import uuid

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.core = client.CoreV1Api()
        name = f"py-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
        self.addCleanup(self.core.delete_namespace, name)
        self.namespace = name

    def create(self, name, **data):
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"t": "1"}), data=data or {"a": "0"})
        return self.core.create_namespaced_config_map(self.namespace, body)

    def list(self, **options):
        return self.core.list_namespaced_config_map(self.namespace, label_selector="t=1", **options)

    def test_pages_show_one_moment(self):
        for number in range(25):
            self.create(f"m{number:02}")
        page = self.list(limit=10)
        self.assertEqual((len(page.items), page.metadata.remaining_item_count), (10, None))
        names = [item.metadata.name for item in page.items]
        self.create("m99")
        while page.metadata._continue:
            page = self.list(limit=10, _continue=page.metadata._continue)
            names += [item.metadata.name for item in page.items]
        self.assertEqual(names, [f"m{number:02}" for number in range(25)], "a later write is in no page")

    def test_a_watch_goes_on_where_it_stopped(self):
        self.create("a")
        version = self.list().metadata.resource_version
        self.create("b")
        self.core.delete_namespaced_config_map("a", self.namespace)
        seen, watcher = [], watch.Watch()
        for event in watcher.stream(self.core.list_namespaced_config_map, self.namespace, label_selector="t=1",
                                    resource_version=version, timeout_seconds=5):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                version = event["object"].metadata.resource_version
                watcher.stop()
        self.assertEqual(seen, [("ADDED", "b")])
        watcher = watch.Watch()
        for event in watcher.stream(self.core.list_namespaced_config_map, self.namespace, label_selector="t=1",
                                    resource_version=version, timeout_seconds=5):
            seen.append((event["type"], event["object"].metadata.name))
            watcher.stop()
        self.assertEqual(seen, [("ADDED", "b"), ("DELETED", "a")])

    def test_a_stale_write_conflicts_and_a_fresh_one_succeeds(self):
        stale = self.create("a")
        self.core.patch_namespaced_config_map("a", self.namespace, {"data": {"b": "1"}})
        stale.data["a"] = "2"
        with self.assertRaises(ApiException) as raised:
            self.core.replace_namespaced_config_map("a", self.namespace, stale)
        self.assertEqual((raised.exception.status, raised.exception.reason), (409, "Conflict"))
        fresh = self.core.read_namespaced_config_map("a", self.namespace)
        fresh.data["a"] = "2"
        written = self.core.replace_namespaced_config_map("a", self.namespace, fresh)
        self.assertEqual(written.data, {"a": "2", "b": "1"})
        with self.assertRaises(ApiException) as raised:
            self.create("a")
        self.assertEqual(raised.exception.status, 409)

    def test_an_expired_revision_is_gone(self):
        with self.assertRaises(ApiException) as raised:
            self.list(limit=1, _continue="bm90IGEgdG9rZW4")
        self.assertIn(raised.exception.status, (400, 410))
        # Revision 1 lies before everything that the server still knows.
        with self.assertRaises(ApiException) as raised:
            self.list(resource_version="1", resource_version_match="Exact")
        self.assertEqual((raised.exception.status, raised.exception.reason), (410, "Gone"))

    def test_one_leader_at_a_time(self):
        """The second candidate takes over when the first one lets its lease run out, and not before."""

        def candidate(name):
            return leaderelection.LeaderElection(electionconfig.Config(
                ConfigMapLock("leader", self.namespace, name), lease_duration=4, renew_deadline=3, retry_period=2,
                onstarted_leading=lambda: None, onstopped_leading=lambda: None))

        first, second = candidate("one"), candidate("two")
        self.assertTrue(first.try_acquire_or_renew(), "a free lease is taken")
        self.assertTrue(first.try_acquire_or_renew(), "its holder renews it")
        began = time.monotonic()
        self.assertFalse(second.try_acquire_or_renew(), "the lease is held")
        while not second.try_acquire_or_renew():
            self.assertLess(time.monotonic() - began, 20)
            time.sleep(0.2)
        self.assertGreater(time.monotonic() - began, 3, "a lease holds for its time")
        record = self.core.read_namespaced_config_map("leader", self.namespace).metadata.annotations
        self.assertIn('"two"', record["control-plane.alpha.kubernetes.io/leader"])


if __name__ == "__main__":
    config.load_kube_config(sys.argv.pop(1))
    unittest.main(verbosity=2)
