"""A transformer and an explainer of the digits classifier, on KServe's own model server, as a user writes them.
Usage: digits_steps.py transformer|explainer [the flags of kserve.model_server]"""

import os
import sys

import uvicorn
from kserve import Model, ModelServer, PredictorConfig, model_server


class Transformer(Model):
    """Takes grey values of 0 to 1, as cameras give them, and answers with labels alone."""

    async def preprocess(self, payload, headers=None):
        return {"instances": [[16 * value for value in image] for image in payload["instances"]]}

    async def postprocess(self, result, headers=None, response_headers=None):
        return {"predictions": [prediction["label"] for prediction in result["predictions"]]}


class Explainer(Model):
    """Says of each line of an image how much its digit owes to it: what is lost when the line is blank."""

    async def explain(self, payload, headers=None):
        image = payload["instances"][0]
        blanked = [image[: 8 * line] + [0] * 8 + image[8 * line + 8:] for line in range(8)]
        whole, *without = (await self.predict({"instances": [image, *blanked]}, headers))["predictions"]
        label = whole["label"]
        share = whole["probabilities"][label]
        return {"explanations": {"label": label,
                                 "lines": [share - other["probabilities"][label] for other in without]}}


class PodConfig(uvicorn.Config):
    """The embedded cluster's pods share the machine's network, so a server listens on its pod's address, not on all."""

    def __init__(self, *arguments, host, port, **options):
        ports = dict(pair.split("=") for pair in os.environ.get("WINDTUNNEL_PORTS", "").split(",") if pair)
        super().__init__(*arguments, host=os.environ.get("WINDTUNNEL_BIND", host), port=int(ports.get(str(port), port)),
                         **options)


if __name__ == "__main__":
    kind = {"transformer": Transformer, "explainer": Explainer}[sys.argv.pop(1)]
    given, _ = model_server.parser.parse_known_args()
    model = kind(given.model_name, PredictorConfig(given.predictor_host, given.predictor_protocol))
    model.ready = True
    uvicorn.Config = PodConfig
    ModelServer(enable_grpc=False).start([model])
