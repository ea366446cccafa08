//! What a webhook has answered.

use serde_json::Value;

use crate::{
    object::{list, text},
    status::ApiError,
};

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Reviewed(Response),
    /// Nothing useful came back; the words follow `failed calling webhook "NAME": `.
    Failed(String),
}

/// A review's response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) allowed: bool,
    /// The JSON patch, if there is one.
    pub(crate) patch: Option<Value>,
    pub(crate) warnings: Vec<String>,
    status: Value,
}

impl Outcome {
    /// Reads the body of an answer to the review with this uid.
    pub(crate) fn read(body: &[u8], version: &str, uid: &str) -> Self {
        Self::parse(body, version, uid).unwrap_or_else(Self::Failed)
    }

    fn parse(body: &[u8], version: &str, uid: &str) -> Result<Self, String> {
        let review: Value =
            serde_json::from_slice(body).map_err(|error| format!("invalid JSON in the answer: {error}"))?;
        let expected = format!("admission.k8s.io/{version}");
        let (kind, found) = (text(&review, &["kind"]), text(&review, &["apiVersion"]));
        if kind != "AdmissionReview" || found != expected {
            let expected =
                format!("expected webhook response of admission.k8s.io/{version}, Kind=AdmissionReview");
            return Err(format!("{expected}, got {found}, Kind={kind}"));
        }
        let response = review.get("response").filter(|response| response.is_object());
        let response = response.ok_or("webhook response was absent")?;
        if text(response, &["uid"]) != uid {
            return Err(format!("expected response.uid=\"{uid}\", got \"{}\"", text(response, &["uid"])));
        }
        let patch = match text(response, &["patch"]) {
            "" => None,
            encoded => {
                let patch_type = text(response, &["patchType"]);
                if patch_type != "JSONPatch" {
                    return Err(format!(
                        "webhook returned response.patch but not response.patchType=JSONPatch, got {patch_type:?}"
                    ));
                }
                Some(decode(encoded)?)
            }
        };
        Ok(Self::Reviewed(Response {
            allowed: response["allowed"].as_bool().unwrap_or(false),
            patch,
            warnings: list(response, &["warnings"])
                .iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect(),
            status: response.get("status").cloned().unwrap_or_default(),
        }))
    }
}

impl Response {
    /// The refusal that this response is.
    pub(crate) fn refusal(&self, name: &str) -> ApiError {
        let denied = format!("admission webhook \"{name}\" denied the request");
        let (message, reason) = (text(&self.status, &["message"]), text(&self.status, &["reason"]));
        let message = match (message, reason) {
            ("", "") => format!("{denied} without explanation"),
            ("", reason) => format!("{denied}: {reason}"),
            (message, _) => format!("{denied}: {message}"),
        };
        let code = self.status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
        let mut error = ApiError::new(code, reason.to_owned(), message);
        error.details =
            self.status.get("details").filter(|details| details.is_object()).cloned().map(Box::new);
        error
    }
}

fn decode(encoded: &str) -> Result<Value, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|error| format!("response.patch is no base64: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("response.patch is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(review: &Value) -> Result<Response, String> {
        match Outcome::read(review.to_string().as_bytes(), "v1", "u") {
            Outcome::Reviewed(response) => Ok(response),
            Outcome::Failed(why) => Err(why),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn review(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_that_do_not_fit_are_failures() {
        assert!(read(&json!({"apiVersion": "v1", "kind": "Status"})).unwrap_err().contains("Kind=Status"));
        assert_eq!(read(&review(Value::Null)).unwrap_err(), "webhook response was absent");
        assert!(read(&review(json!({"uid": "z", "allowed": true}))).unwrap_err().contains("got \"z\""));
        assert!(
            read(&review(json!({"uid": "u", "allowed": true, "patch": "W10="})))
                .unwrap_err()
                .contains("patchType")
        );
        assert!(matches!(Outcome::read(b"<html>", "v1", "u"), Outcome::Failed(_)));
    }

    #[test]
    fn a_denial_keeps_the_code_from_400_up_and_the_details() {
        let refusal = |status: Value| {
            read(&review(json!({"uid": "u", "allowed": false, "status": status}))).unwrap().refusal("h.x.y")
        };
        let plain = refusal(Value::Null);
        assert_eq!((plain.code, plain.reason.as_ref()), (400, ""));
        assert_eq!(plain.message, "admission webhook \"h.x.y\" denied the request without explanation");
        assert_eq!(refusal(json!({"code": 200, "message": "odd"})).code, 400);
        let teapot =
            refusal(json!({"code": 418, "reason": "Teapot", "message": "m", "details": {"causes": []}}));
        assert_eq!((teapot.code, teapot.reason.as_ref()), (418, "Teapot"));
        assert_eq!(teapot.details, Some(Box::new(json!({"causes": []}))));
    }
}
