"""The platform: plugins, instances, adapters elsewhere, upkeep and trials. The spine sees it through Protocols. It imports no surface."""
