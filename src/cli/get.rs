//! `roundtrip get URL…`: bodies to standard output and nothing else. The letters are curl's.
//!
//! ```text
//!   arguments ──► plan (method, fields, body) ──► for each URL: client ──► head? ──► body ──► Output
//! ```

use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use clap::Args;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::error::ErrorKind;
use roundtrip::http::body::Body;

use crate::cli::complain;
use crate::cli::output::Output;

/// Fetches URLs.
#[derive(Args)]
pub struct Arguments {
    /// What to fetch; `http://` may be left out.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Ask for the head only (HEAD), and print it.
    #[arg(short = 'I', long = "head")]
    head: bool,
    /// The method; without it GET, or POST if there is data.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field, `Name: value`; `Name:` removes one that would be sent.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    fields: Vec<String>,
    /// Data to send, `@FILE` (without its line ends) or `@-`; several are joined by `&`.
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Vec<String>,
    /// Data to send as it is; `@FILE` is streamed, `@-` is standard input.
    #[arg(long = "data-binary", value_name = "DATA", conflicts_with = "data")]
    data_binary: Option<String>,
    /// Write the body to a file; the first is for the first URL, and so on. `-`: standard output.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    outputs: Vec<String>,
    /// Print the response's head before its body.
    #[arg(short = 'i', long = "include")]
    include: bool,
    /// Tell on standard error what is sent and received.
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Follow redirects.
    #[arg(short = 'L', long = "location")]
    follow: bool,
    /// Give up on a URL after so many seconds.
    #[arg(short = 'm', long = "max-time", value_name = "SECONDS")]
    seconds: Option<f64>,
    /// No progress bar, and no error text.
    #[arg(short = 's', long = "silent")]
    silent: bool,
}

/// Fetches one URL after the other. The exit code is 0 only if every one was answered with a
/// status below 400, and its body arrived whole.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let plan = Plan::new(arguments)?;
    roundtrip::block_on(async {
        let client = client(arguments)?;
        let mut code = ExitCode::SUCCESS;
        for (index, url) in arguments.urls.iter().enumerate() {
            let output = arguments.outputs.get(index).map(String::as_str);
            if let Err(error) = fetch(&client, &plan, arguments, url, output).await {
                if !arguments.silent {
                    complain(&error);
                }
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    })
}

/// What every request has in common.
struct Plan {
    method: Method,
    fields: Vec<(String, String)>,
    data: Option<Data>,
    timeout: Option<Duration>,
}

enum Data {
    Bytes(Vec<u8>),
    File(Arc<File>, u64),
}

impl Plan {
    fn new(arguments: &Arguments) -> Result<Plan> {
        let data = match &arguments.data_binary {
            Some(text) => Some(Data::binary(text)?),
            None if arguments.data.is_empty() => None,
            None => Some(Data::form(&arguments.data)?),
        };
        let method = match &arguments.method {
            Some(name) => Method::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("`{name}` is no method")))?,
            None if arguments.head => Method::HEAD,
            None if data.is_some() => Method::POST,
            None => Method::GET,
        };
        let mut fields = vec![
            ("Accept".to_owned(), "*/*".to_owned()),
            (
                "User-Agent".to_owned(),
                concat!("roundtrip/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ];
        if data.is_some() {
            let form = "application/x-www-form-urlencoded".to_owned();
            fields.push(("Content-Type".to_owned(), form));
        }
        set_fields(&mut fields, &arguments.fields)?;
        let timeout = arguments.seconds.map(Duration::try_from_secs_f64);
        let timeout = timeout
            .transpose()
            .map_err(|_| invalid("-m: not a number of seconds"))?;
        Ok(Plan {
            method,
            fields,
            data,
            timeout,
        })
    }
}

/// Puts the user's fields over ours: `Name: value` replaces, `Name:` removes.
fn set_fields(fields: &mut Vec<(String, String)>, texts: &[String]) -> Result<()> {
    let is_named = |name: &str, field: &(String, String)| field.0.eq_ignore_ascii_case(name);
    for text in texts {
        let Some((name, _)) = text.split_once(':') else {
            return Err(invalid(format!("-H: `{text}` has no colon")));
        };
        fields.retain(|field| !is_named(name.trim(), field));
    }
    for text in texts {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        if !value.trim().is_empty() {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(())
}

impl Data {
    fn binary(text: &str) -> Result<Data> {
        match text.strip_prefix('@') {
            None => Ok(Data::Bytes(text.as_bytes().to_vec())),
            Some("-") => Ok(Data::Bytes(read("-")?)),
            Some(name) => {
                let file = File::open(name).map_err(|error| named(name, error))?;
                let length = file.metadata().map_err(|error| named(name, error))?;
                if !length.is_file() {
                    return Ok(Data::Bytes(read(name)?));
                }
                Ok(Data::File(Arc::new(file), length.len()))
            }
        }
    }

    fn form(texts: &[String]) -> Result<Data> {
        let mut all = Vec::new();
        for text in texts {
            if !all.is_empty() {
                all.push(b'&');
            }
            match text.strip_prefix('@') {
                None => all.extend_from_slice(text.as_bytes()),
                Some(name) => {
                    let bytes = read(name)?;
                    all.extend(bytes.into_iter().filter(|byte| !b"\r\n\0".contains(byte)));
                }
            }
        }
        Ok(Data::Bytes(all))
    }

    fn to_body(&self) -> Body {
        match self {
            Data::Bytes(bytes) => Body::from(bytes.clone()),
            Data::File(file, length) => Body::file(Arc::clone(file), 0..*length),
        }
    }
}

/// A whole file, or standard input.
fn read(name: &str) -> Result<Vec<u8>> {
    if name != "-" {
        return std::fs::read(name).map_err(|error| named(name, error));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn client(arguments: &Arguments) -> Result<Client> {
    let redirects_max = match arguments.follow {
        true => roundtrip::limits::REDIRECTS_MAX,
        false => 0,
    };
    // Ours is among the fields of the plan, where it can be removed.
    let builder = Client::builder().redirects_max(redirects_max);
    Ok(builder.user_agent("")?.build())
}

async fn fetch(
    client: &Client,
    plan: &Plan,
    arguments: &Arguments,
    url: &str,
    output: Option<&str>,
) -> Result<()> {
    let url = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let mut request = client.request(plan.method.clone(), &url);
    if let Some(timeout) = plan.timeout {
        request = request.timeout(timeout);
    }
    for (name, value) in &plan.fields {
        request = request.header(name, value);
    }
    if let Some(data) = &plan.data {
        request = request.body(data.to_body());
    }
    if arguments.verbose {
        eprintln!("> {} {url}", plan.method);
        for (name, value) in &plan.fields {
            eprintln!("> {name}: {value}");
        }
        eprintln!(">");
    }
    let mut response = request.send().await?;
    if arguments.verbose {
        head(&response)
            .lines()
            .for_each(|line| eprintln!("< {line}"));
    }
    let mut output = Output::open(output, response.body_ref().length(), arguments.silent)?;
    if arguments.include || arguments.head {
        output.write(head(&response).as_bytes())?;
    }
    while let Some(chunk) = response.body_mut().chunk().await {
        output.write(&chunk?)?;
    }
    output.finish()?;
    response.error_for_status().map(drop)
}

/// The head of a response as it would stand on the wire.
fn head(response: &Response) -> String {
    let status = response.status_code();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("{:?} {} {reason}\r\n", response.version(), status.as_u16());
    for (name, value) in response.headers().iter() {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    text + "\r\n"
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

fn named(name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read {name}")).because(error)
}
