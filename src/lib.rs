#![doc = include_str!("../README.md")]

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod directory;
pub mod domain;
pub mod federation;
pub mod http_client;
pub mod mail;
pub mod oidc;
pub mod operations;
pub mod provisioning;
pub mod scim;
pub mod server;
pub mod storage;
pub mod userstore;
