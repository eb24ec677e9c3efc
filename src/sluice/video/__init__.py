"""The science of behaviour videos."""
