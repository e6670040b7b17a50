//! What is sent to every URL: method, fields, credentials, body.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::Method;
use clap::Args;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Headers;
use roundtrip::client::RequestBuilder;
use roundtrip::client::multipart::Form;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;

use crate::cli::Failure;
use crate::cli::console;
use crate::cli::get::Arguments;
use crate::cli::get::form::Field;
use crate::cli::get::invalid;
use crate::cli::get::unreadable;

/// Bytes of standard input that are read at once.
const STDIN_BYTES: usize = 64 * 1024;
/// A file that says it is no longer than this is read at once: those of /proc and /sys say something
/// else than they hold.
const SMALL_FILE_BYTES: u64 = 64 * 1024;

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
    Source(Source),
    /// Standard input, as it comes: for one URL.
    Stdin(Stdin),
    Form(Vec<Field>),
}

/// What can be sent more than once.
pub enum Source {
    Bytes(Vec<u8>),
    /// Of this length, streamed.
    File(Arc<File>, u64),
}

#[derive(Clone)]
struct Stdin {
    file: Arc<File>,
    /// Bytes that were read of it.
    read_bytes: Arc<AtomicU64>,
    /// Why no more could be read.
    error: Arc<OnceLock<String>>,
}

impl Plan {
    /// Looks at all that the arguments name; files are opened.
    pub fn new(arguments: &Arguments) -> Result<Plan, Failure> {
        let content = &arguments.content;
        let data = match (&content.data_binary, &content.upload) {
            (Some(text), _) => Some(Data::Source(Source::binary(text)?)),
            (None, Some(name)) => Some(Data::upload(name)?),
            (None, None) if !content.form.is_empty() => {
                let fields = content.form.iter().map(|text| Field::new(text));
                Some(Data::Form(fields.collect::<Result<_, _>>()?))
            }
            (None, None) if content.data.is_empty() => None,
            (None, None) => Some(Data::Source(Source::joined(&content.data)?)),
        };
        if matches!(data, Some(Data::Stdin(_))) && arguments.urls.len() > 1 {
            return Err(invalid("-T -: standard input can be sent to one URL only"));
        }
        let method = match &arguments.method {
            Some(name) => method(name)?,
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
        if matches!(data, Some(Data::Source(_))) && content.upload.is_none() {
            let form = "application/x-www-form-urlencoded".to_owned();
            fields.push(("Content-Type".to_owned(), form));
        }
        let cookies = arguments.cookie.as_deref();
        if let Some(cookies) = cookies.filter(|text| text.contains('=')) {
            check_field("-b", "Cookie", cookies)?;
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
            timeout: arguments.timeout.filter(|timeout| !timeout.is_zero()),
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
            Some(Data::Source(source)) => request.body(source.body()),
            Some(Data::Stdin(stdin)) => request.body(stdin.body()),
            None => request,
        }
    }

    /// Why standard input was not sent whole, where that was its own fault.
    pub fn stdin_error(&self) -> Option<&str> {
        match &self.data {
            Some(Data::Stdin(stdin)) => stdin.error.get().map(String::as_str),
            _ => None,
        }
    }

    /// Bytes of the body that were sent of standard input.
    pub fn stdin_bytes(&self) -> Option<u64> {
        match &self.data {
            Some(Data::Stdin(stdin)) => Some(stdin.read_bytes.load(Ordering::Relaxed)),
            _ => None,
        }
    }
}

fn method(name: &str) -> Result<Method, Failure> {
    match Method::from_bytes(name.as_bytes()) {
        Ok(Method::CONNECT) => Err(invalid(
            "-X: a tunnel (CONNECT) has nothing to write: see -p",
        )),
        Ok(method) => Ok(method),
        Err(_) => Err(invalid(format!("-X: `{name}` is no method"))),
    }
}

/// A field that can be sent.
fn check_field(option: &str, name: &str, value: &str) -> Result<(), Failure> {
    match Headers::from_pairs([(name, value)]) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!("{option}: {error:#}"))),
    }
}

fn user(text: &str) -> Result<(String, String), Failure> {
    let (name, password) = text
        .split_once(':')
        .ok_or_else(|| invalid("-u: NAME:PASSWORD is expected; nobody is asked for a password"))?;
    Ok((name.to_owned(), password.to_owned()))
}

/// Puts the user's fields over ours: `Name: value` replaces, `Name:` removes.
fn set_fields(fields: &mut Vec<(String, String)>, texts: &[String]) -> Result<(), Failure> {
    let is_named = |name: &str, field: &(String, String)| field.0.eq_ignore_ascii_case(name);
    for text in texts {
        let Some((name, value)) = text.split_once(':') else {
            return Err(invalid(format!("-H: `{text}` has no colon")));
        };
        check_field("-H", name.trim(), value.trim())?;
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
    fn upload(name: &str) -> Result<Data, Failure> {
        if name != "-" {
            return Ok(Data::Source(Source::open(name)?));
        }
        let file = console::stdin().map_err(|error| unreadable("standard input", error))?;
        Ok(Data::Stdin(Stdin {
            file: Arc::new(file),
            read_bytes: Arc::default(),
            error: Arc::default(),
        }))
    }
}

impl Source {
    /// A file; `-`: all of standard input. What is no regular file, or a small one, is read whole.
    pub fn open(name: &str) -> Result<Source, Failure> {
        if name == "-" {
            return Ok(Source::Bytes(read(name)?));
        }
        let file = File::open(name).map_err(|error| unreadable(name, error))?;
        let metadata = file.metadata().map_err(|error| unreadable(name, error))?;
        match metadata.is_file() && metadata.len() > SMALL_FILE_BYTES {
            true => Ok(Source::File(Arc::new(file), metadata.len())),
            false => Ok(Source::Bytes(read_all(name, &file)?)),
        }
    }

    /// The content as a body.
    pub fn body(&self) -> Body {
        match self {
            Source::Bytes(bytes) => Body::from(bytes.clone()),
            Source::File(file, length) => Body::file(Arc::clone(file), 0..*length),
        }
    }

    fn binary(text: &str) -> Result<Source, Failure> {
        match text.strip_prefix('@') {
            None => Ok(Source::Bytes(text.as_bytes().to_vec())),
            Some(name) => Source::open(name),
        }
    }

    /// Several, with `&` between them; files without their line ends.
    fn joined(texts: &[String]) -> Result<Source, Failure> {
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
        Ok(Source::Bytes(all))
    }
}

impl Stdin {
    fn body(&self) -> Body {
        let stdin = self.clone();
        Body::produce(async move |sender| {
            loop {
                let file = Arc::clone(&stdin.file);
                let read = runtime::blocking(move || read_some(&file)).await?;
                let bytes = read.inspect_err(|error| {
                    stdin.error.get_or_init(|| error.to_string());
                })?;
                if bytes.is_empty() {
                    return Ok(());
                }
                let count = bytes.len() as u64;
                sender.send(bytes.into()).await?;
                stdin.read_bytes.fetch_add(count, Ordering::Relaxed);
            }
        })
    }
}

/// What comes next on standard input; nothing at its end.
fn read_some(mut file: &File) -> roundtrip::Result<Vec<u8>> {
    let mut bytes = vec![0; STDIN_BYTES];
    let read = file
        .read(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot read standard input").because(error))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A whole file, or standard input.
pub fn read(name: &str) -> Result<Vec<u8>, Failure> {
    let opened = match name {
        "-" => console::stdin(),
        name => File::open(name),
    };
    read_all(name, &opened.map_err(|error| unreadable(name, error))?)
}

fn read_all(name: &str, mut file: &File) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(name, error)),
    }
}
