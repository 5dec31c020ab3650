#![doc = include_str!("../README.md")]

pub mod app;
mod audit;
pub mod cli;
pub mod config;
pub mod demo;
pub mod directory;
pub mod domain;
pub mod federation;
mod gate;
pub mod http_client;
pub mod jose;
pub mod mail;
pub mod oidc;
pub mod operations;
pub mod provisioning;
pub mod scim;
pub mod server;
pub mod storage;
pub mod userstore;
