"""What programs written with Kubernetes' own Python client do with KServe's kinds, unmodified.
Usage: kubernetes_client.py KUBECONFIG [test names]"""

import copy
import sys
import unittest
import uuid

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv.pop(1))
GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"


def service(name, **spec):
    predictor = {"minReplicas": 1, "model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits/v1"}}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "InferenceService",
            "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
            "spec": {"predictor": predictor | spec}}


def is_ready(found):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found.get("status", {}).get("conditions", []))


class InferenceServices(unittest.TestCase):
    def setUp(self):
        self.custom, core = client.CustomObjectsApi(), client.CoreV1Api()
        self.namespace = f"python-{uuid.uuid4().hex[:8]}"
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=self.namespace)))
        self.addCleanup(core.delete_namespace, self.namespace)
        self.place = (GROUP, VERSION, self.namespace, PLURAL)

    def refused(self, status, call, *arguments, **options):
        with self.assertRaises(ApiException) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status, status, caught.exception.body)
        return caught.exception.body

    def test_from_create_to_delete(self):
        """A service is made, watched until it is ready, changed, and gone; the watch goes on where an older one ended."""
        made = self.custom.create_namespaced_custom_object(*self.place, service("digits"))
        seen = []
        stream = watch.Watch()
        for event in stream.stream(self.custom.list_namespaced_custom_object, *self.place, timeout_seconds=60,
                                   resource_version=made["metadata"]["resourceVersion"]):
            seen.append(event["type"])
            if is_ready(event["object"]):
                stream.stop()
        self.assertEqual(set(seen), {"MODIFIED"}, seen)
        ready = self.custom.get_namespaced_custom_object(*self.place, "digits")
        self.assertTrue(is_ready(ready))
        self.assertEqual(ready["status"]["url"], f"http://digits-{self.namespace}.example.com")

        # Who writes on an old version is told, and a patch needs none.
        outdated = copy.deepcopy(made)
        outdated["spec"]["predictor"]["maxReplicas"] = 3
        body = self.refused(409, self.custom.replace_namespaced_custom_object, *self.place, "digits", outdated)
        self.assertIn("the object has been modified; please apply your changes to the latest version", body)
        patched = self.custom.patch_namespaced_custom_object(*self.place, "digits", {"spec": {"predictor": {"maxReplicas": 3}}})
        self.assertEqual(patched["metadata"]["generation"], ready["metadata"]["generation"] + 1)
        ready = self.custom.get_namespaced_custom_object(*self.place, "digits")
        ready["spec"]["predictor"]["maxReplicas"] = 2
        replaced = self.custom.replace_namespaced_custom_object(*self.place, "digits", ready)
        self.assertEqual(replaced["spec"]["predictor"]["maxReplicas"], 2)
        hpa = client.AutoscalingV2Api().read_namespaced_horizontal_pod_autoscaler("digits-predictor", self.namespace)
        self.assertEqual(hpa.metadata.owner_references[0].name, "digits")

        body = self.refused(409, self.custom.create_namespaced_custom_object, *self.place, service("digits"))
        self.assertIn("AlreadyExists", body)
        self.custom.delete_namespaced_custom_object(*self.place, "digits", propagation_policy="Foreground")
        for event in stream.stream(self.custom.list_namespaced_custom_object, *self.place, timeout_seconds=30,
                                   resource_version=replaced["metadata"]["resourceVersion"]):
            if event["type"] == "DELETED":
                stream.stop()
        self.refused(404, self.custom.get_namespaced_custom_object, *self.place, "digits")
        left = client.AppsV1Api().list_namespaced_deployment(self.namespace).items
        self.assertEqual(left, [], "foreground deletion waits for the children")

    def test_the_webhooks_words(self):
        body = self.refused(403, self.custom.create_namespaced_custom_object, *self.place, service("bad", minReplicas=-1))
        self.assertIn("'MinReplicas' cannot be less than 0", body)
        body = self.refused(400, self.custom.create_namespaced_custom_object, *self.place, service("bad", minReplica=1),
                            field_validation="Strict")
        self.assertIn('unknown field \\"spec.predictor.minReplica\\"', body)
        self.refused(404, self.custom.get_namespaced_custom_object, *self.place, "bad")

    def test_pages(self):
        for number in range(7):
            self.custom.create_namespaced_custom_object(*self.place, service(f"s{number}", minReplicas=0, maxReplicas=1))
        names, token = [], None
        while token != "":
            page = self.custom.list_namespaced_custom_object(*self.place, limit=3, _continue=token)
            self.assertLessEqual(len(page["items"]), 3)
            names += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue", "")
        self.assertEqual(names, [f"s{number}" for number in range(7)])
        self.custom.delete_collection_namespaced_custom_object(*self.place)

    def test_the_dynamic_client_applies(self):
        """Two managers, one field: the second is told whose it is, unless it insists."""
        services = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version=f"{GROUP}/{VERSION}", kind="InferenceService")
        self.assertIn("isvc", services.short_names)
        wanted = service("applied", maxReplicas=2)
        first = services.server_side_apply(body=wanted, namespace=self.namespace, field_manager="first")
        self.assertEqual(first.spec.predictor.maxReplicas, 2)
        other = {**wanted, "spec": {"predictor": {"maxReplicas": 4}}}
        with self.assertRaises(dynamic.exceptions.ConflictError) as caught:
            services.server_side_apply(body=other, namespace=self.namespace, field_manager="second")
        self.assertIn('conflict with "first": .spec.predictor.maxReplicas', caught.exception.summary())
        forced = services.server_side_apply(body=other, namespace=self.namespace, field_manager="second", force_conflicts=True)
        self.assertEqual((forced.spec.predictor.maxReplicas, forced.spec.predictor.minReplicas), (4, 1))
        owners = {entry.manager for entry in forced.metadata.managedFields}
        self.assertLessEqual({"first", "second"}, owners)


if __name__ == "__main__":
    unittest.main(verbosity=2)
