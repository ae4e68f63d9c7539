//! What a client makes of a `call_tool_res`.
//!
//! A claim is one only where the frame itself says so: the text of a payload may look like a claim
//! and is never taken for one.

use bus_model::{Claim, ContentType, Retrieval};
use serde_json::value::RawValue;

use crate::{CallError, CallToolRes, Delivery, FrameError, Output};

/// How a call ended, for its caller.
#[derive(Debug)]
pub enum Reply {
    /// The payload is in the frame.
    Inline(InlinePayload),
    /// The payload is stored at the daemon that sent the frame.
    Reference {
        /// What it is found by.
        claim: Claim,
        /// How to redeem it.
        retrieval: Box<Retrieval>,
    },
    /// There is no payload.
    Failed(CallError),
}

impl Reply {
    /// Reads a result.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] where the frame has neither outputs nor an error, or announces a
    /// claim and holds none.
    pub fn of(frame: CallToolRes) -> Result<Self, FrameError> {
        if let Some(error) = frame.error {
            return Ok(Self::Failed(error));
        }
        let outputs = frame
            .outputs
            .ok_or_else(|| invalid("a result has neither outputs nor an error"))?;
        match frame.delivery {
            None => Ok(Self::Inline(InlinePayload {
                outputs,
                content_type: frame.content_type,
            })),
            Some(Delivery::Reference) => {
                let retrieval = frame
                    .retrieval
                    .ok_or_else(|| invalid("a claim comes without retrieval"))?;
                let claim = serde_json::from_str(&only_text(&outputs)?)
                    .map_err(|error| FrameError::Invalid(format!("no claim: {error}")))?;
                Ok(Self::Reference {
                    claim,
                    retrieval: Box::new(retrieval),
                })
            }
        }
    }
}

/// A payload that came inside its frame.
#[derive(Debug)]
pub struct InlinePayload {
    outputs: Box<RawValue>,
    content_type: Option<ContentType>,
}

impl InlinePayload {
    /// The media type of the payload.
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        self.content_type.clone().unwrap_or_else(ContentType::json)
    }

    /// The outputs.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] where they are none.
    pub fn outputs(&self) -> Result<Vec<Output>, FrameError> {
        serde_json::from_str(self.outputs.get())
            .map_err(|error| FrameError::Invalid(error.to_string()))
    }

    /// The exact bytes that the tool made.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] where the outputs are not what the frame says.
    pub fn into_payload(self) -> Result<Vec<u8>, FrameError> {
        match self.content_type {
            Some(_) => only_text(&self.outputs).map(String::into_bytes),
            None => Ok(format!(r#"{{"outputs":{}}}"#, self.outputs.get()).into_bytes()),
        }
    }
}

fn only_text(outputs: &RawValue) -> Result<String, FrameError> {
    let outputs: Vec<Output> = serde_json::from_str(outputs.get())
        .map_err(|error| FrameError::Invalid(error.to_string()))?;
    match <[Output; 1]>::try_from(outputs) {
        Ok([Output::Text { text }]) => Ok(text),
        Err(_) => Err(invalid("one output is expected")),
    }
}

fn invalid(text: &str) -> FrameError {
    FrameError::Invalid(text.to_owned())
}
