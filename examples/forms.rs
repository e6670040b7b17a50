//! A form with a file, and a cookie: `forms [ADDR]`, then open the page, or
//! `curl -F name=me -F photo=@file ADDR`.
//!
//! ```text
//!   GET /    the form, filled with the name that the cookie remembers
//!   POST /   what was sent; large files went to disk and not to memory
//! ```

use std::time::Duration;

use roundtrip::Cookie;
use roundtrip::Html;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::http::cookie::SameSite;
use roundtrip::server::FormOptions;

/// `{name}` is a name of hexadecimal digits, which need no escaping.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>forms</title>
<form method="post" enctype="multipart/form-data">
  <p><label>Name <input name="name" value="{name}" pattern="[0-9a-f]*"></label>
  <p><label>Photos <input name="photo" type="file" multiple></label>
  <p><button>Send</button>
</form>
"#;

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn page(request: &Request) -> Html<String> {
    let name = request.cookie("name").filter(|name| is_name(name));
    Html(PAGE.replace("{name}", name.unwrap_or("")))
}

async fn upload(mut request: Request) -> roundtrip::Result<Response> {
    let form = request.multipart_form(FormOptions::default()).await?;
    let mut text = String::new();
    for file in form.files("photo") {
        let (name, bytes) = (file.file_name(), file.len());
        let place = if file.is_on_disk() {
            "on disk"
        } else {
            "in memory"
        };
        text += &format!("{name}: {bytes} bytes, {place}\n");
    }
    let response = text.into_response();
    let name = form.get("name").filter(|name| is_name(name));
    Ok(response.cookie(
        Cookie::new("name", name.unwrap_or(""))
            .path("/")
            .http_only()
            .same_site(SameSite::Lax)
            .max_age(Duration::from_secs(24 * 60 * 60)),
    ))
}

fn main() -> roundtrip::Result<()> {
    let address = std::env::args().nth(1);
    let router = Router::new().get("/{$}", page).post("/{$}", upload);
    let server = Server::new(router).bind(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    server
        .on_handler_error(|failed| eprintln!("{failed}"))
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
