"""What programs written with KServe's own SDK need: its client, its models and its inference client, unmodified.
Usage: kserve_sdk.py KUBECONFIG GATEWAY REQUESTS [test names]; REQUESTS has V1 requests with the predictions of both versions
of the digits classifier, which lie at s3://models/digits/v1 and v2."""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import pathlib
import sys
import tempfile
import time
import unittest
import uuid

from kserve import (InferenceRESTClient, InferInput, InferRequest, KServeClient, RESTConfig,
                    V1alpha1InferenceGraph, V1alpha1InferenceGraphSpec, V1alpha1InferenceRouter, V1alpha1InferenceStep,
                    V1alpha1ModelSpec, V1alpha1TrainedModel, V1alpha1TrainedModelSpec, V1beta1CanarySpec,
                    V1beta1ExplainerSpec, V1beta1InferenceService, V1beta1InferenceServiceSpec, V1beta1LoggerSpec,
                    V1beta1ModelFormat, V1beta1ModelSpec, V1beta1ONNXRuntimeSpec, V1beta1PredictorSpec,
                    V1beta1SKLearnSpec, V1beta1TransformerSpec)
from kubernetes import client

KUBECONFIG, GATEWAY, REQUESTS = (sys.argv.pop(1) for _ in range(3))
STEPS = "example.com/digits-steps:1"
READY_WITHIN = {"timeout_seconds": 60, "polling_interval": 0.2}
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}
ROWS = [json.loads(line) for line in pathlib.Path(REQUESTS).read_text().splitlines()]
# A row that both versions know, with different probabilities.
ROW = ROWS[0]


def expected(version, row=ROW):
    return row["expect"][f"s3://models/digits/{version}"]["predictions"]


def version_of(answer):
    """Which version gave an answer to ROW."""
    found = answer["predictions"][0]["probabilities"][1]
    near = {v: abs(expected(v)[0]["probabilities"][1] - found) for v in ("v1", "v2")}
    return min(near, key=near.get)


class Services(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.kserve = KServeClient(config_file=KUBECONFIG)
        self.core = client.CoreV1Api()
        self.namespace = f"sdk-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=self.namespace)))
        self.addCleanup(self.core.delete_namespace, self.namespace)

    def model(self, version="v1", **other):
        return V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="onnx"),
                                storage_uri=f"s3://models/digits/{version}", **other)

    def service(self, predictor, name="digits", annotations=None, **components):
        return V1beta1InferenceService(
            api_version="serving.kserve.io/v1beta1", kind="InferenceService",
            metadata=client.V1ObjectMeta(name=name, namespace=self.namespace, annotations=annotations),
            spec=V1beta1InferenceServiceSpec(predictor=predictor, **components))

    def create(self, *arguments, **options):
        service = self.service(*arguments, **options)
        created = self.kserve.create(service)
        self.wait(created)
        return service

    def wait(self, answer):
        self.kserve.wait_isvc_ready(answer["metadata"]["name"], namespace=self.namespace,
                                    expected_generation=answer["metadata"]["generation"], **READY_WITHIN)

    def get(self, name="digits"):
        return self.kserve.get(name, namespace=self.namespace)

    def host(self, name="digits"):
        return self.get(name)["status"]["url"].removeprefix("http://")

    def call(self, action, protocol="v1"):
        """Runs a call of the SDK's asynchronous client."""

        async def run():
            async with InferenceRESTClient(RESTConfig(protocol=protocol)) as rest:
                return await action(rest)

        return asyncio.run(run())

    def predict(self, body=ROW["body"], host=None, times=1, name="digits"):
        """The answers to a V1 request, sent through the gateway."""
        headers = {"Host": host or self.host(name)}

        async def all_of_them(rest):
            return [await rest.infer(f"http://{GATEWAY}", body, name, headers=headers) for _ in range(times)]

        answers = self.call(all_of_them)
        return answers[0] if times == 1 else answers

    def assert_predictions(self, answer, version, row=ROW):
        self.assertEqual(answer.keys(), {"predictions"})
        for found, wanted in zip(answer["predictions"], expected(version, row), strict=True):
            self.assertEqual(found["label"], wanted["label"])
            for one, other in zip(found["probabilities"], wanted["probabilities"], strict=True):
                self.assertAlmostEqual(one, other, delta=1e-5)

    def until(self, what, holds, within_s=60):
        deadline = time.monotonic() + within_s
        while True:
            seen = what()
            if holds(seen):
                return seen
            self.assertLess(time.monotonic(), deadline, seen)
            time.sleep(0.05)


class Life(Services):
    def test_create_get_patch_replace_delete(self):
        service = self.service(V1beta1PredictorSpec(model=self.model()))
        created = self.kserve.create(service)
        self.assertEqual((created["metadata"]["generation"], created["metadata"]["namespace"]), (1, self.namespace))
        self.assertFalse(self.kserve.is_isvc_ready("digits", namespace=self.namespace))
        self.wait(created)
        self.assertTrue(self.kserve.is_isvc_ready("digits", namespace=self.namespace))
        status = self.get()["status"]
        self.assertEqual(status["deploymentMode"], "Knative")
        self.assertEqual(status["url"], f"http://digits-{self.namespace}.example.com")
        self.assertEqual(status["address"]["url"], f"http://digits.{self.namespace}.svc.cluster.local")
        self.assertEqual({c["type"]: c["status"] for c in status["conditions"]},
                         dict.fromkeys(["IngressReady", "LatestDeploymentReady", "PredictorConfigurationReady",
                                        "PredictorReady", "PredictorRouteReady", "Ready", "RoutesReady", "Stopped"],
                                       "True") | {"Stopped": "False"})
        self.assert_predictions(self.predict(), "v1")

        service.spec.predictor.model.storage_uri = "s3://models/digits/v2"
        patched = self.kserve.patch("digits", service)
        self.assertEqual(patched["metadata"]["generation"], 2)
        self.assertFalse(self.kserve.is_isvc_ready("digits", namespace=self.namespace, expected_generation=2),
                         "the first version's readiness is not the second one's")
        self.wait(patched)
        self.assert_predictions(self.predict(), "v2")

        replaced = self.kserve.replace("digits", self.service(V1beta1PredictorSpec(model=self.model("v1"))))
        self.assertEqual(replaced["metadata"]["generation"], 3)
        self.wait(replaced)
        self.assert_predictions(self.predict(), "v1")
        stale = self.service(V1beta1PredictorSpec(model=self.model("v2")))
        stale.metadata.resource_version = created["metadata"]["resourceVersion"]
        with self.assertRaisesRegex(RuntimeError, "409"):
            self.kserve.replace("digits", stale)

        listed = self.kserve.get(namespace=self.namespace)
        self.assertEqual([item["metadata"]["name"] for item in listed["items"]], ["digits"])
        self.kserve.delete("digits", namespace=self.namespace)
        self.until(lambda: self.kserve.get(namespace=self.namespace)["items"], lambda items: items == [])
        with self.assertRaisesRegex(RuntimeError, "404"):
            self.get()

    def test_watches_end_when_a_service_is_ready(self):
        service = self.service(V1beta1PredictorSpec(model=self.model()), annotations=STANDARD)
        for action in (lambda: self.kserve.create(service, watch=True, timeout_seconds=60),
                       lambda: self.kserve.get("digits", namespace=self.namespace, watch=True, timeout_seconds=60),
                       lambda: self.kserve.wait_isvc_ready("digits", namespace=self.namespace, watch=True,
                                                           timeout_seconds=60, expected_generation=1)):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                began = time.monotonic()
                action()
            self.assertLess(time.monotonic() - began, 50, printed.getvalue())
            row = printed.getvalue().splitlines()[-1].split()
            self.assertEqual(row, ["digits", "True", "0", "100", f"http://digits-{self.namespace}.example.com"])

    def test_the_second_protocol_and_its_model_states(self):
        self.create(V1beta1PredictorSpec(onnx=V1beta1ONNXRuntimeSpec(
            storage_uri="s3://models/digits/v1", protocol_version="v2")))
        self.assertEqual(self.get()["spec"]["predictor"]["model"]["modelFormat"], {"name": "onnx"})
        headers = {"Host": self.host()}
        request = InferRequest(model_name="digits", request_id="seven", infer_inputs=[
            InferInput("image", [1, 64], "FP32", data=ROW["body"]["instances"])])

        async def ask(rest):
            url = f"http://{GATEWAY}"
            return (await rest.is_server_live(url, headers=headers), await rest.is_server_ready(url, headers=headers),
                    await rest.is_model_ready(url, "digits", headers=headers),
                    await rest.infer(url, request, headers=headers, model_name="digits"))

        *states, answer = self.call(ask, "v2")
        self.assertEqual(states, [True, True, True])
        self.assertEqual((answer.id, answer.model_name), ("seven", "digits"))
        label, probabilities = (answer.get_output_by_name(name) for name in ("label", "probabilities"))
        self.assertEqual((label.shape, label.datatype, label.data), ([1], "INT64", [expected("v1")[0]["label"]]))
        self.assertEqual((probabilities.shape, probabilities.datatype), ([1, 10], "FP32"))
        for one, other in zip(probabilities.data, expected("v1")[0]["probabilities"], strict=True):
            self.assertAlmostEqual(one, other, delta=1e-5)
        self.kserve.wait_model_ready("digits", "digits", isvc_namespace=self.namespace, cluster_ip=GATEWAY,
                                     protocol_version="v2", **READY_WITHIN)

    def test_refusals_and_timeouts_say_why(self):
        with self.assertRaisesRegex(RuntimeError, "'MinReplicas' cannot be greater than MaxReplicas"):
            self.kserve.create(self.service(V1beta1PredictorSpec(min_replicas=3, max_replicas=2, model=self.model())))
        with self.assertRaisesRegex(RuntimeError, "404"):
            self.kserve.delete("nobody", namespace=self.namespace)
        self.kserve.create(self.service(V1beta1PredictorSpec(model=self.model("v9"))))

        def failure():
            return self.get().get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {}).get("reason")

        self.until(failure, lambda reason: reason == "ModelLoadFailed")
        with self.assertRaisesRegex(RuntimeError, "Timeout to start the InferenceService digits.*ModelLoadFailed"):
            self.kserve.wait_isvc_ready("digits", namespace=self.namespace, timeout_seconds=1, polling_interval=0.5)


class Rollouts(Services):
    def test_a_canary_by_traffic_percent(self):
        service = self.create(V1beta1PredictorSpec(model=self.model()),
                              annotations={"serving.kserve.io/enable-tag-routing": "true"})
        service.spec.predictor = V1beta1PredictorSpec(canary_traffic_percent=10, model=self.model("v2"))
        self.wait(self.kserve.patch("digits", service))
        predictor = self.get()["status"]["components"]["predictor"]
        first, second = "digits-predictor-00001", "digits-predictor-00002"
        self.assertEqual([(t["revisionName"], t["percent"], t["latestRevision"]) for t in predictor["traffic"]],
                         [(second, 10, True), (first, 90, False)])
        self.assertEqual((predictor["latestReadyRevision"], predictor["latestRolledoutRevision"]), (second, first))
        versions = [version_of(answer) for answer in self.predict(times=100)]
        self.assertEqual((versions.count("v1"), versions.count("v2")), (90, 10))
        hosts = {t["tag"]: t["url"].removeprefix("http://") for t in predictor["traffic"]}
        self.assertEqual(hosts.keys(), {"prev", "latest"})
        self.assert_predictions(self.predict(host=hosts["latest"]), "v2")
        self.assert_predictions(self.predict(host=hosts["prev"]), "v1")

        back = self.service(V1beta1PredictorSpec(canary_traffic_percent=0, model=self.model("v2")))
        self.wait(self.kserve.patch("digits", back))
        self.assertEqual({version_of(answer) for answer in self.predict(times=20)}, {"v1"})
        service.spec.predictor = V1beta1PredictorSpec(model=self.model("v2"))
        self.wait(self.kserve.replace("digits", service))
        self.assertEqual({version_of(answer) for answer in self.predict(times=20)}, {"v2"})
        predictor = self.get()["status"]["components"]["predictor"]
        self.assertEqual((predictor["latestRolledoutRevision"], predictor["previousRolledoutRevision"]), (second, first))

    def test_canaries_in_standard_mode(self):
        stable = V1beta1PredictorSpec(model=self.model())
        canary = V1beta1CanarySpec(traffic_percent=20, predictor=V1beta1PredictorSpec(name="next", model=self.model("v2")))
        service = self.create(stable, annotations=STANDARD, canary=[canary])
        status = self.until(lambda: self.get()["status"],
                            lambda status: all(c["ready"] for c in status.get("canaryStatuses", [{"ready": False}])))
        self.assertEqual([(c["name"], c["trafficPercent"]) for c in status["canaryStatuses"]], [("next", 20)])
        self.assertEqual([c["status"] for c in status["conditions"] if c["type"] == "CanaryPredictorReady"], ["True"])

        def versions():
            answers = [version_of(answer) for answer in self.predict(times=100)]
            return answers.count("v1"), answers.count("v2")

        # A route's weights come a moment after the condition.
        self.until(versions, lambda seen: seen == (80, 20))
        service.spec.canary = None
        self.wait(self.kserve.replace("digits", service))
        self.until(versions, lambda seen: seen == (100, 0))
        self.assertNotIn("canaryStatuses", self.get()["status"])


class Components(Services):
    def step(self, kind):
        return client.V1Container(name="kserve-container", image=STEPS, args=[kind])

    def a_service_with_its_own_steps(self, annotations):
        self.create(V1beta1PredictorSpec(model=self.model()), annotations=annotations,
                    transformer=V1beta1TransformerSpec(containers=[self.step("transformer")]),
                    explainer=V1beta1ExplainerSpec(containers=[self.step("explainer")]))
        images = [row["body"]["instances"][0] for row in ROWS[:20]]
        grey = {"instances": [[value / 16 for value in image] for image in images]}
        labels = [expected("v1", row)[0]["label"] for row in ROWS[:20]]
        self.assertEqual(self.predict(grey), {"predictions": labels})
        host = self.host()

        async def explain(rest):
            return await rest.explain(f"http://{GATEWAY}", "digits", ROW["body"], headers={"Host": host})

        explanation = self.call(explain)["explanations"]
        self.assertEqual(explanation["label"], expected("v1")[0]["label"])
        # Logistic regression: a line's weight is not nothing, and at least one speaks for the digit.
        self.assertEqual(len(explanation["lines"]), 8)
        self.assertGreater(max(explanation["lines"]), 0.01)

    def test_transformer_and_explainer_on_knative(self):
        self.a_service_with_its_own_steps(None)

    def test_transformer_and_explainer_in_standard_mode(self):
        self.a_service_with_its_own_steps(STANDARD)


class Graphs(Services):
    def graph(self, name, annotations, **nodes):
        return V1alpha1InferenceGraph(
            api_version="serving.kserve.io/v1alpha1", kind="InferenceGraph",
            metadata=client.V1ObjectMeta(name=name, namespace=self.namespace, annotations=annotations),
            spec=V1alpha1InferenceGraphSpec(nodes=nodes))

    def ask(self, name, body=ROW["body"]):
        found = self.kserve.get_inference_graph(name, namespace=self.namespace)
        host, address = found["status"]["url"].removeprefix("http://"), GATEWAY
        if found["metadata"].get("annotations", {}).items() >= STANDARD.items():
            # As upstream has it, no route leads to these from outside: they are asked by their Service.
            address = self.core.read_namespaced_service(name, self.namespace).spec.cluster_ip
        return self.call(lambda rest: rest.infer(f"http://{address}", body, headers={"Host": host},
                                                 is_graph_endpoint=True))

    def test_graphs_on_knative(self):
        self.graphs_of_all_kinds(None)

    def test_graphs_in_standard_mode(self):
        self.graphs_of_all_kinds(STANDARD)

    def graphs_of_all_kinds(self, annotations):
        for name, version in (("one", "v1"), ("two", "v2")):
            self.create(V1beta1PredictorSpec(model=self.model(version)), name=name, annotations=annotations)
        one, two = (dict(service_name=name, name=name) for name in ("one", "two"))
        step, router = V1alpha1InferenceStep, V1alpha1InferenceRouter
        graphs = {
            "sequence": router(router_type="Sequence", steps=[step(**one), step(**two, data="$request")]),
            "ensemble": router(router_type="Ensemble", steps=[step(**one), step(**two)]),
            "splitter": router(router_type="Splitter", steps=[step(**one, weight=20), step(**two, weight=80)]),
            "switch": router(router_type="Switch", steps=[step(**one, condition="[@this].#(model==\"one\")"),
                                                          step(**two, condition="[@this].#(model==\"two\")")]),
        }
        for name, root in graphs.items():
            created = self.kserve.create_inference_graph(self.graph(name, annotations, root=root))
            self.assertEqual(created["metadata"]["name"], name)
        for name in graphs:
            self.kserve.wait_ig_ready(name, namespace=self.namespace, **READY_WITHIN)
            self.assertTrue(self.kserve.is_ig_ready(name, namespace=self.namespace))
            url = self.kserve.get_inference_graph(name, namespace=self.namespace)["status"]["url"]
            self.assertEqual(url, f"http://{name}-{self.namespace}.example.com")
        self.assert_predictions(self.ask("sequence"), "v2")
        both = self.ask("ensemble")
        self.assertEqual(both.keys(), {"one", "two"})
        self.assert_predictions(both["one"], "v1")
        self.assert_predictions(both["two"], "v2")
        for name, version in (("one", "v1"), ("two", "v2")):
            self.assert_predictions(self.ask("switch", ROW["body"] | {"model": name}), version)
        versions = [version_of(self.ask("splitter")) for _ in range(60)]
        # By chance: 12 of 60 are expected, and all these counts together miss once in ten million.
        self.assertIn(versions.count("v1"), range(1, 32))
        self.kserve.delete_inference_graph("sequence", namespace=self.namespace)
        with self.assertRaisesRegex(RuntimeError, "404"):
            self.until(lambda: self.kserve.get_inference_graph("sequence", namespace=self.namespace), lambda _: False)


class Models(Services):
    def test_a_trained_model_of_a_server_without_room_for_it(self):
        trained = V1alpha1TrainedModel(
            api_version="serving.kserve.io/v1alpha1", kind="TrainedModel",
            metadata=client.V1ObjectMeta(name="extra", namespace=self.namespace),
            spec=V1alpha1TrainedModelSpec(inference_service="digits", model=V1alpha1ModelSpec(
                framework="onnx", storage_uri="s3://models/digits/v2", memory="1Gi")))
        self.create(V1beta1PredictorSpec(model=self.model()))
        self.kserve.create_trained_model(trained, self.namespace)
        get = lambda: client.CustomObjectsApi().get_namespaced_custom_object(
            "serving.kserve.io", "v1alpha1", self.namespace, "trainedmodels", "extra")
        found = self.until(get, lambda found: found.get("status", {}).get("conditions"))
        states = {c["type"]: c["status"] for c in found["status"]["conditions"]}
        # A server of one model takes no other.
        self.assertEqual((states["InferenceServiceReady"], states["IsMMSPredictor"], states["Ready"]),
                         ("True", "False", "False"), states)
        self.kserve.delete_trained_model("extra", namespace=self.namespace)
        self.kserve.wait_model_ready("digits", "digits", isvc_namespace=self.namespace, cluster_ip=GATEWAY, **READY_WITHIN)
        with self.assertRaisesRegex(RuntimeError, "has not loaded"):
            self.kserve.wait_model_ready("digits", "extra", isvc_namespace=self.namespace, cluster_ip=GATEWAY,
                                         timeout_seconds=1, polling_interval=0.5)


class Credentials(Services):
    def test_credentials_reach_the_downloads(self):
        encoded = lambda text: base64.b64encode(text.encode()).decode()
        with tempfile.TemporaryDirectory() as folder:
            s3, gcs, azure = (pathlib.Path(folder, name) for name in ("s3", "gcs.json", "azure.json"))
            # The SDK hands the values on as they are, so the file has them encoded.
            s3.write_text(f"[default]\naws_access_key_id = {encoded('someone')}\naws_secret_access_key = {encoded('secret')}\n")
            gcs.write_text('{"type": "service_account"}')
            azure.write_text(json.dumps({key: encoded(key) for key in
                                         ("clientId", "clientSecret", "subscriptionId", "tenantId")}))
            self.kserve.set_credentials("s3", namespace=self.namespace, credentials_file=str(s3), service_account="sa",
                                        s3_endpoint="minio.local:9000", s3_use_https="0", s3_region="nowhere")
            self.kserve.set_credentials("gcs", namespace=self.namespace, credentials_file=str(gcs), service_account="g")
            self.kserve.set_credentials("azure", namespace=self.namespace, credentials_file=str(azure), service_account="a")
        secret = {name: self.core.read_namespaced_secret(account.secrets[0].name, self.namespace)
                  for name, account in ((n, self.core.read_namespaced_service_account(n, self.namespace)) for n in "ag")}
        self.assertEqual(base64.b64decode(secret["g"].data["gcloud-application-credentials.json"]),
                         b'{"type": "service_account"}')
        self.assertEqual(base64.b64decode(secret["a"].data["AZURE_TENANT_ID"]), b"tenantId")

        self.create(V1beta1PredictorSpec(service_account_name="sa", model=self.model()))
        pods = self.core.list_namespaced_pod(
            self.namespace, label_selector="serving.kserve.io/inferenceservice=digits").items
        account = self.core.read_namespaced_service_account("sa", self.namespace)
        [download] = [c for c in pods[0].spec.init_containers if c.name == "storage-initializer"]
        env = {e.name: e.value or e.value_from.secret_key_ref.name for e in download.env}
        wanted = {"AWS_ACCESS_KEY_ID": account.secrets[0].name, "AWS_SECRET_ACCESS_KEY": account.secrets[0].name,
                  "S3_USE_HTTPS": "0", "S3_ENDPOINT": "minio.local:9000", "AWS_ENDPOINT_URL": "http://minio.local:9000",
                  "AWS_DEFAULT_REGION": "nowhere"}
        self.assertEqual({name: env.get(name) for name in wanted}, wanted)


if __name__ == "__main__":
    unittest.main(verbosity=2)
