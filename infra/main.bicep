// Everything that Vision Relay needs in Azure, for `azd up`. docs/deploying.md says how to use it and why it is so.
// Plain resources, no registry modules: it compiles without a network, and all of it can be read here and in app/.
targetScope = 'subscription'

@description('Name of the azd environment. All names are made from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of the app. It must offer Flex Consumption: `az functionapp list-flexconsumption-locations`.')
@minLength(1)
@metadata({ azd: { type: 'location' } })
param location string

@description('The app settings that are a matter of choice, by name; main.parameters.json has their defaults.')
param settings object

@description('On-demand instances of each function at most. One reaches the API\'s limit of ten calls a second; more only cost. A region that does not take less than 40 says so: set 40 there.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 1

@description('Memory of an instance in MB. 2048 comes with one core.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Copies of the queues: LRS in one datacentre, ZRS in three zones of the region (where it has zones).')
@allowed(['Standard_LRS', 'Standard_ZRS'])
param storageSku string = 'Standard_LRS'

@description('Resource id of an existing Custom Vision training account (or multi-service account); empty: a new one.')
param customVisionResourceId string = ''

@description('Resource id of an existing Face account (or multi-service account); empty: a new one.')
param faceResourceId string = ''

@description('Region of a new Custom Vision account; empty: the app\'s. Not every region offers it.')
param customVisionLocation string = ''

@description('Region of a new Face account; empty: the app\'s.')
param faceLocation string = ''

@description('Let new accounts take their keys too, for other clients than this app: the customvision.ai portal, say.')
param accountKeysAllowed bool = false

@description('Resource id of a Key Vault with keys of the accounts; empty: no keys, the app\'s identity is used.')
param keyVaultResourceId string = ''

@description('Name of the secret in that vault with the Custom Vision training key; empty: the identity is used.')
param customVisionKeySecretName string = ''

@description('Name of the secret in that vault with the Face key; empty: the identity is used.')
param faceKeySecretName string = ''

@description('Publish events to an Event Grid topic too.')
param eventGridEnabled bool = false

@description('Whom alerts are mailed to; empty: alerts are only shown.')
param alertEmail string = ''

@description('An alert says so when a message has waited longer than this, in minutes.')
@minValue(15)
param oldestMessageMinutes int = 60

@description('Object id of a person or group who may send, look at and redrive messages; azd gives that of who deploys. Empty: nobody.')
param principalId string = ''

@description('What principalId is. A ServicePrincipal is a pipeline that deploys: it operates nothing and gets no role.')
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

var tags = { 'azd-env-name': environmentName }
var token = toLower(uniqueString(subscription().id, environmentName, location))
var groupName = 'rg-${environmentName}'
var accountPrefix = '/subscriptions/${subscription().subscriptionId}/resourceGroups/${groupName}/providers/Microsoft.CognitiveServices/accounts'
// An account's id is /subscriptions/S/resourceGroups/G/providers/Microsoft.CognitiveServices/accounts/NAME.
var customVisionId = split(empty(customVisionResourceId) ? '${accountPrefix}/cv-${token}' : customVisionResourceId, '/')
var faceId = split(empty(faceResourceId) ? '${accountPrefix}/face-${token}' : faceResourceId, '/')
// Two settings may name one secret, and a role is assigned once.
var keySecretNames = union(
  empty(customVisionKeySecretName) ? [] : [customVisionKeySecretName],
  empty(faceKeySecretName) ? [] : [faceKeySecretName]
)
var noVault = 'KEY_VAULT_RESOURCE_ID is missing, although CUSTOM_VISION_KEY_SECRET_NAME or FACE_KEY_SECRET_NAME is set'
var vaultId = split(!empty(keyVaultResourceId) ? keyVaultResourceId : empty(keySecretNames) ? '${accountPrefix}/none' : fail(noVault), '/')
var operatorPrincipalId = principalType == 'ServicePrincipal' ? '' : principalId

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module storage 'app/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    sku: storageSku
    // An empty EVENTS_QUEUE means that there is none. The app creates PERMITS_QUEUE, with its permits.
    queueNames: filter([
      settings.METADATA_UPDATES_QUEUE
      '${settings.METADATA_UPDATES_QUEUE}-poison'
      settings.TRAINING_WATCHES_QUEUE
      '${settings.TRAINING_WATCHES_QUEUE}-poison'
      settings.EVENTS_QUEUE
    ], name => !empty(name))
  }
}

module customVision 'app/account.bicep' = {
  name: 'custom-vision-${token}'
  scope: resourceGroup(customVisionId[2], customVisionId[4])
  params: {
    name: customVisionId[8]
    create: empty(customVisionResourceId)
    kind: 'CustomVision.Training'
    location: empty(customVisionLocation) ? location : customVisionLocation
    tags: tags
    keysAllowed: accountKeysAllowed
  }
  dependsOn: [group]
}

module face 'app/account.bicep' = {
  name: 'face-${token}'
  scope: resourceGroup(faceId[2], faceId[4])
  params: {
    name: faceId[8]
    create: empty(faceResourceId)
    kind: 'Face'
    location: empty(faceLocation) ? location : faceLocation
    tags: tags
    keysAllowed: accountKeysAllowed
  }
  dependsOn: [group]
}

module events 'app/events.bicep' = if (eventGridEnabled) {
  name: 'events'
  scope: group
  params: {
    name: 'evgt-${token}'
    location: location
    tags: tags
  }
}

// All roles are in app/roles.bicep. An existing account or vault may be in another group, and a role is assigned there.
module roles 'app/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: principalType
    storageAccountName: storage.outputs.name
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    eventGridTopicName: eventGridEnabled ? events!.outputs.name : ''
  }
}

module customVisionRoles 'app/roles.bicep' = {
  name: 'custom-vision-roles-${token}'
  scope: resourceGroup(customVisionId[2], customVisionId[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: principalType
    customVisionAccountName: customVision.outputs.name
  }
}

module faceRoles 'app/roles.bicep' = {
  name: 'face-roles-${token}'
  scope: resourceGroup(faceId[2], faceId[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: principalType
    faceAccountName: face.outputs.name
  }
}

module vaultRoles 'app/roles.bicep' = if (!empty(keyVaultResourceId)) {
  name: 'key-vault-roles-${token}'
  scope: resourceGroup(vaultId[2], vaultId[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    keyVaultName: vaultId[8]
    keyVaultSecretNames: keySecretNames
  }
}

module app 'app/function.bicep' = {
  name: 'app'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageAccountName: storage.outputs.name
    packageContainerName: storage.outputs.packageContainerName
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    customVisionEndpoint: customVision.outputs.endpoint
    faceEndpoint: face.outputs.endpoint
    eventGridTopicEndpoint: eventGridEnabled ? events!.outputs.endpoint : ''
    keyVaultName: vaultId[8]
    customVisionKeySecretName: customVisionKeySecretName
    faceKeySecretName: faceKeySecretName
    settings: settings
  }
  // The host reads its storage account as soon as it starts.
  dependsOn: [roles, vaultRoles]
}

module alerts 'app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    email: alertEmail
    oldestMessageMinutes: oldestMessageMinutes
  }
}

module workbook 'app/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    applicationInsightsName: monitoring.outputs.applicationInsightsName
  }
}

// azd keeps these in its environment: `azd env get-values`. The command line reads those that are settings, and
// infra/kubernetes/ asks for them.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output AZURE_STORAGE_ACCOUNT_NAME string = storage.outputs.name
output AZURE_IDENTITY_NAME string = identity.outputs.name
output APPLICATIONINSIGHTS_CONNECTION_STRING string = monitoring.outputs.connectionString
output AzureWebJobsStorage__blobServiceUri string = storage.outputs.blobServiceUri
output AzureWebJobsStorage__queueServiceUri string = storage.outputs.queueServiceUri
output CUSTOM_VISION_ENDPOINT string = customVision.outputs.endpoint
output FACE_ENDPOINT string = face.outputs.endpoint
output EVENT_GRID_TOPIC_ENDPOINT string = eventGridEnabled ? events!.outputs.endpoint : ''
output AZURE_APP_CLIENT_ID string = identity.outputs.clientId
output AZURE_WORKBOOK_ID string = workbook.outputs.id
