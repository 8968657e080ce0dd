"""The platform: plugins, instances, adapters elsewhere, upkeep and trials. The spine knows it by Protocols; it imports no surface."""
