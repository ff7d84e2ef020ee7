"""The server's French: labels in the dump, and a few log texts. All else stays English."""

from collections.abc import Mapping

FRENCH: Mapping[str, str] = {
    "Actions": "Actions",
    "Abort focus": "Arrêter la mise au point",
    "Autofocus": "Mise au point automatique",
    "Average over": "Moyenne sur",
    "Camera": "Caméra",
    "Clouds": "Nuages",
    "Connect": "Connecter",
    "Devices": "Périphériques",
    "Disconnect": "Déconnecter",
    "Exposure": "Exposition",
    "Filter wheel": "Roue à filtres",
    "Focus parameters": "Paramètres de mise au point",
    "Focuser": "Focuseur",
    "Humidity": "Humidité",
    "Image": "Image",
    "Iterations": "Itérations",
    "Measures": "Mesures",
    "Mount position": "Position de la monture",
    "Parameters": "Paramètres",
    "Progress": "Progression",
    "Sequence": "Séquence",
    "Start sequence": "Démarrer la séquence",
    "Temperature": "Température",
    "Weather state": "État météo",
    "invalid event data content": "contenu de données d'événement invalide",
    "Client not granted for updates": "Client non autorisé pour les mises à jour",
    "Client set language": "Client a défini la langue",
}


def labelled(text: str, language: str) -> str:
    """A label or hint as the dump shows it in this language."""
    return FRENCH.get(text, text) if language == "fr" else text


def logged(text: str, language: str) -> str:
    """A log text in this language: only some of its words are known."""
    if language == "fr":
        for english, french in FRENCH.items():
            if len(english) > len("Parameters") and english in text:
                return text.replace(english, french)
    return text
