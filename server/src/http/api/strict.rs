//! Reading what a client sent, and saying exactly what is wrong with it.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The JSON object of a request. Fields that nobody knows are errors.
pub(super) fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = "Send JSON, and say so: Content-Type: application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        if !error.is_data() {
            return Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}."));
        }
        let detail = match unknown_field(&error.to_string()) {
            Some((unknown, known)) => format!("`{unknown}`: no such field; {}.", suggestion(unknown, &known)),
            None if path == "." => format!("{error}."),
            None => format!("`{path}`: {error}."),
        };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    reader.end().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body goes on after its JSON object."))?;
    Ok(read)
}

/// The parameters of a query, each known and at most once.
pub(super) fn query(query: Option<&str>, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned() {
        if !known.contains(&name.as_str()) {
            let advice = suggestion(&name, known);
            return Err(bad_parameter(&name, &format!("no such parameter; {advice}")));
        }
        if parameters.iter().any(|(earlier, _)| *earlier == name) {
            return Err(bad_parameter(&name, "given twice; leave one"));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

pub(super) fn bad_parameter(name: &str, wrong: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("`{name}`: {wrong}."))
}

/// The field that serde does not know, and those that it does: it says so in words only.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut names = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2);
    Some((names.next()?, names.collect()))
}

fn suggestion(unknown: &str, known: &[&str]) -> String {
    let distance = |name: &&&str| strsim::damerau_levenshtein(name, unknown);
    match known.iter().min_by_key(distance).filter(|name| distance(name) <= 3) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}
