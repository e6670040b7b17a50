//! What is sent to every URL: method, fields, credentials, body.

use std::fs::File;
use std::io::Read as _;
use std::io::Stdin;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use clap::Args;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Result;
use roundtrip::client::RequestBuilder;
use roundtrip::client::multipart::Form;
use roundtrip::runtime;

use crate::cli::get::Arguments;
use crate::cli::get::form::Field;
use crate::cli::get::invalid;
use crate::cli::get::unreadable;

/// Bytes of standard input that are read at once.
const STDIN_BYTES: usize = 64 * 1024;

/// What the body is made of.
#[derive(Args)]
pub struct Content {
    /// Data to send, `@FILE` (without its line ends) or `@-`; several are joined by `&`.
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Vec<String>,
    /// Data to send as it is; `@FILE` is streamed, `@-` is standard input.
    #[arg(long = "data-binary", value_name = "DATA", conflicts_with_all = ["data", "upload"])]
    data_binary: Option<String>,
    /// A file to send as the body, streamed, by PUT; `-`: standard input, in chunks. A URL that ends
    /// in `/` gets the file's name.
    #[arg(
        short = 'T',
        long = "upload-file",
        value_name = "FILE",
        conflicts_with = "data"
    )]
    upload: Option<String>,
    /// A field of a form: `NAME=VALUE`, `NAME=@FILE`, `NAME=<FILE` for a file's content; behind it
    /// `;type=MEDIA/TYPE` and `;filename=NAME`.
    #[arg(
        short = 'F',
        long = "form",
        value_name = "NAME=CONTENT",
        conflicts_with_all = ["data", "data_binary", "upload"]
    )]
    form: Vec<String>,
}

/// What every request has in common.
pub struct Plan {
    method: Method,
    fields: Vec<(String, String)>,
    user: Option<(String, String)>,
    data: Option<Data>,
    /// The name that is put behind a URL that ends in `/`.
    file_name: Option<String>,
    timeout: Option<Duration>,
}

enum Data {
    Bytes(Vec<u8>),
    File(Arc<File>, u64),
    /// Standard input, as it comes: for one URL.
    Stdin,
    Form(Vec<Field>),
}

impl Plan {
    /// Looks at all that the arguments name; files are opened.
    pub fn new(arguments: &Arguments) -> Result<Plan> {
        let content = &arguments.content;
        let data = match (&content.data_binary, &content.upload) {
            (Some(text), _) => Some(Data::binary(text)?),
            (None, Some(name)) => Some(Data::upload(name)?),
            (None, None) if !content.form.is_empty() => {
                let fields = content.form.iter().map(|text| Field::new(text));
                Some(Data::Form(fields.collect::<Result<_>>()?))
            }
            (None, None) if content.data.is_empty() => None,
            (None, None) => Some(Data::form(&content.data)?),
        };
        if matches!(data, Some(Data::Stdin)) && arguments.urls.len() > 1 {
            return Err(invalid("-T -: standard input can be sent to one URL only"));
        }
        let method = match &arguments.method {
            Some(name) => Method::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("`{name}` is no method")))?,
            None if arguments.head => Method::HEAD,
            None if content.upload.is_some() => Method::PUT,
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
        if matches!(data, Some(Data::Bytes(_) | Data::File(..))) && content.upload.is_none() {
            let form = "application/x-www-form-urlencoded".to_owned();
            fields.push(("Content-Type".to_owned(), form));
        }
        let cookies = arguments.cookie.as_deref();
        if let Some(cookies) = cookies.filter(|text| text.contains('=')) {
            fields.push(("Cookie".to_owned(), cookies.to_owned()));
        }
        set_fields(&mut fields, &arguments.fields)?;
        let file_name = content.upload.as_deref().map(Path::new);
        let file_name = file_name.and_then(|path| path.file_name()?.to_str());
        Ok(Plan {
            method,
            fields,
            user: arguments.user.as_deref().map(user).transpose()?,
            data,
            file_name: file_name.filter(|name| *name != "-").map(str::to_owned),
            timeout: arguments.timeout,
        })
    }

    /// The request for one URL.
    pub fn request(&self, client: &Client, url: &str) -> RequestBuilder {
        let url = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let url = match &self.file_name {
            Some(name) if url.ends_with('/') => url + name,
            _ => url,
        };
        let mut request = client.request(self.method.clone(), &url);
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, password);
        }
        match &self.data {
            Some(Data::Form(fields)) => {
                let form = fields.iter();
                request.multipart(form.fold(Form::new(), |form, field| field.add_to(form)))
            }
            Some(Data::Bytes(bytes)) => request.body(bytes.clone()),
            Some(Data::File(file, length)) => {
                request.body(Body::file(Arc::clone(file), 0..*length))
            }
            Some(Data::Stdin) => request.body(Body::produce(async |sender| {
                while let Some(bytes) = runtime::blocking(read_some).await?? {
                    sender.send(bytes.into()).await?;
                }
                Ok(())
            })),
            None => request,
        }
    }
}

fn user(text: &str) -> Result<(String, String)> {
    let (name, password) = text
        .split_once(':')
        .ok_or_else(|| invalid("-u: NAME:PASSWORD is expected; nobody is asked for a password"))?;
    Ok((name.to_owned(), password.to_owned()))
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
            Some(name) => Data::file(name),
        }
    }

    fn upload(name: &str) -> Result<Data> {
        match name {
            "-" => Ok(Data::Stdin),
            name => Data::file(name),
        }
    }

    fn file(name: &str) -> Result<Data> {
        let file = File::open(name).map_err(|error| unreadable(name, error))?;
        let metadata = file.metadata().map_err(|error| unreadable(name, error))?;
        if !metadata.is_file() {
            return Ok(Data::Bytes(read(name)?));
        }
        Ok(Data::File(Arc::new(file), metadata.len()))
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
}

/// What comes next on standard input; `None` at its end.
fn read_some() -> Result<Option<Vec<u8>>> {
    let mut stdin: Stdin = std::io::stdin();
    let mut bytes = vec![0; STDIN_BYTES];
    let len = stdin
        .read(&mut bytes)
        .map_err(|error| unreadable("standard input", error))?;
    bytes.truncate(len);
    Ok((len > 0).then_some(bytes))
}

/// A whole file, or standard input.
pub fn read(name: &str) -> Result<Vec<u8>> {
    if name != "-" {
        return std::fs::read(name).map_err(|error| unreadable(name, error));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
